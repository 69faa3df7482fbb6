//! A patch as people have it: a file, standard input, or mail. What is applied is plain text, and is kept with the gate's
//! other papers, with an account of the mails that it was made from.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::mail::{self, Incomplete, Mail, MailUse};

/// A patch that was read and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// As it was named.
    pub name: String,
    /// Its plain text, in the gate's folder.
    pub path: PathBuf,
    /// The mails that it was found in, in the order of the mailbox; none if it was a plain file.
    pub mails: Vec<MailUse>,
}

/// Why a patch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// It cannot be read.
    #[error("failed to read the patch {name}: {why}")]
    Unreadable {
        /// As it was named.
        name: String,
        /// What the system answered.
        why: std::io::Error,
    },
    /// It is none.
    #[error(
        "failed to find a patch in {0}: it has no line that begins with \"diff --git\" or \"+++ \"\n    \
         give what `git format-patch`, `git diff` or a mailing list's mbox has"
    )]
    None(String),
    /// A mailbox holds only a part of the newest revision.
    #[error(
        "failed to put the patch {name} together: {why}\n    give the whole thread: `b4 am -o- MESSAGE-ID` fetches it"
    )]
    Incomplete {
        /// As it was named.
        name: String,
        /// What is missing.
        #[source]
        why: Incomplete,
    },
    /// It cannot be kept.
    #[error("failed to write {}: {why}", .path.display())]
    Unwritable {
        /// Where it was to go.
        path: PathBuf,
        /// What the system answered.
        #[source]
        why: std::io::Error,
    },
}

/// Reads a patch, `-` for standard input, and makes plain text of it: of a mailbox, the newest revision of each series in
/// the order of its numbers, with the encoding of its transfer undone.
///
/// # Errors
/// Why there is no patch.
pub fn read(name: &Path) -> Result<(Vec<u8>, Vec<MailUse>), PatchError> {
    let shown = match name == Path::new("-") {
        true => "standard input".to_owned(),
        false => name.display().to_string(),
    };
    let bytes = match name == Path::new("-") {
        true => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => fs::read(name),
    };
    let bytes = bytes.map_err(|why| PatchError::Unreadable { name: shown.clone(), why })?;
    let (plain, mails) = plain_text(bytes).map_err(|why| PatchError::Incomplete { name: shown.clone(), why })?;
    match has_patch(&plain) {
        true => Ok((plain, mails)),
        false => Err(PatchError::None(shown)),
    }
}

/// Reads patches and writes them to this folder, in their order.
///
/// # Errors
/// Why one is none, or cannot be written.
pub fn keep(names: &[PathBuf], folder: &Path) -> Result<Vec<Patch>, PatchError> {
    let mut kept = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let (text, mails) = read(name)?;
        let path = folder.join(format!("{:02}-{}", index + 1, file_name(name)));
        fs::write(&path, text).map_err(|why| PatchError::Unwritable { path: path.clone(), why })?;
        // Commands that reproduce a change work from any folder.
        let path = fs::canonicalize(&path).unwrap_or(path);
        kept.push(Patch { name: name.display().to_string(), path, mails });
    }
    Ok(kept)
}

fn file_name(name: &Path) -> String {
    let stem = name.file_stem().filter(|_| name != Path::new("-"));
    let stem = stem.map_or("stdin".into(), |stem| stem.to_string_lossy());
    let safe = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    format!("{}.patch", stem.chars().map(safe).collect::<String>())
}

fn has_patch(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"diff --git ") || line.starts_with(b"+++ "))
}

/// Where a mail begins in a mailbox.
const MAIL: &[u8] = b"From ";

fn plain_text(bytes: Vec<u8>) -> Result<(Vec<u8>, Vec<MailUse>), Incomplete> {
    let is_mail = bytes.starts_with(MAIL) || header(&bytes, "subject").is_some();
    if !is_mail {
        return Ok((bytes, Vec::new()));
    }
    let mails: Vec<Mail> = mails(&bytes).into_iter().map(read_mail).collect();
    let (applied, account) = mail::choose(&mails)?;
    Ok((applied.into_iter().flat_map(|at| mails[at].body.clone()).collect(), account))
}

fn read_mail(mail: &[u8]) -> Mail {
    let body = body(mail);
    let of = |name: &str| header(mail, name).unwrap_or_default();
    let ids = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let references = Some(ids(of("references"))).filter(|ids| !ids.is_empty());
    Mail {
        subject: of("subject"),
        from: of("from"),
        id: of("message-id").trim().to_owned(),
        references: references.unwrap_or_else(|| ids(of("in-reply-to"))),
        has_diff: has_patch(&body),
        body,
    }
}

/// The mails of a mailbox, each with its headers.
fn mails(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        // After an empty line; within a mail such a line is quoted with '>'.
        if at > 1 && line.starts_with(MAIL) && bytes[..at].ends_with(b"\n\n") {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| without_envelope(&bytes[*start..end])).collect()
}

/// A mail without the line that a mailbox puts before it.
fn without_envelope(mail: &[u8]) -> &[u8] {
    match mail.starts_with(MAIL).then(|| mail.iter().position(|byte| *byte == b'\n')).flatten() {
        Some(newline) => &mail[newline + 1..],
        None => mail,
    }
}

/// The body of a mail with its transfer encoding undone; of one with parts, all of them.
fn body(mail: &[u8]) -> Vec<u8> {
    fn collect(part: &mailparse::ParsedMail<'_>, into: &mut Vec<u8>) {
        if part.subparts.is_empty() {
            into.extend(part.get_body_raw().unwrap_or_default().into_iter().filter(|byte| *byte != b'\r'));
        }
        part.subparts.iter().for_each(|part| collect(part, into));
    }
    match mailparse::parse_mail(mail) {
        Ok(parsed) => {
            let mut body = Vec::new();
            collect(&parsed, &mut body);
            body
        }
        // As it is, then; whoever applies it says what is wrong.
        Err(_) => mail.to_vec(),
    }
}

fn header(mail: &[u8], name: &str) -> Option<String> {
    let (headers, _) = mailparse::parse_headers(mail).ok()?;
    headers.iter().find(|header| header.get_key_ref().eq_ignore_ascii_case(name)).map(mailparse::MailHeader::get_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";

    #[test]
    fn a_plain_patch_stays_as_it_is() {
        let text = format!("A word before.\n\n{DIFF}");
        assert_eq!(plain_text(text.clone().into_bytes()), Ok((text.into_bytes(), Vec::new())));
    }

    #[test]
    fn a_mailbox_is_put_in_order_and_decoded() {
        let mail = |subject: &str, encoding: &str, body: &str| {
            format!(
                "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: A <a@b.c>\nSubject: {subject}\n\
                 Content-Transfer-Encoding: {encoding}\n\n{body}\n"
            )
        };
        let mailbox = [
            mail("[PATCH v3 0/2] cover", "8bit", " drivers/vfio/x | 2 +-\n"),
            mail("[PATCH v3 2/2] second", "8bit", &DIFF.replace("+b", "+second")),
            mail("Re: [PATCH v3 2/2] second", "8bit", "> +++ b/x\nNo.\n"),
            mail("[PATCH v3 1/2] first", "quoted-printable", &DIFF.replace("+b", "+fi=\nrst=3D")),
        ];
        let (plain, mails) = plain_text(mailbox.concat().into_bytes()).unwrap();
        assert_eq!(mails.len(), 4);
        let plain = String::from_utf8(plain).unwrap();
        let added: Vec<&str> = plain.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++")).collect();
        assert_eq!(added, ["+first=", "+second"]);
    }

    #[test]
    fn what_has_no_patch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.txt");
        fs::write(&path, "Hello.\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("git format-patch"));
        assert!(read(&folder.path().join("nowhere")).unwrap_err().to_string().starts_with("failed to read"));
    }
}
