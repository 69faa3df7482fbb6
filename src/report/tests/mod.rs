//! What reports promise: the truth about a journal that was cut anywhere, valid files, and text that people understand.

mod console;
mod html;
mod incident;
mod journal;
mod json;
mod junit;
mod ktap;
mod markdown;
mod write;
