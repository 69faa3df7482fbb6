//! The files of a bundle, and their checksums in the form of `sha256sum`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// What is asked, and what it came to.
pub const CERTIFICATE: &str = "certificate.json";
/// Where the runs were.
pub const ENVIRONMENT: &str = "environment.json";
/// The certificate for people.
pub const STATEMENT: &str = "STATEMENT.txt";
/// The checksums of all other files.
pub const SUMS: &str = "SHA256SUMS";
/// The waivers, as they were given.
pub const WAIVERS: &str = "waivers.toml";
/// The profile, as it was given.
pub const PROFILE: &str = "profile.toml";
/// The kernel's log at the end.
pub const KERNEL_LOG: &str = "kernel.log";
/// The kernel's configuration; with `.gz` behind it if it is packed.
pub const CONFIGURATION: &str = "kernel-config";
/// The same, packed.
pub const PACKED_CONFIGURATION: &str = "kernel-config.gz";
/// What the kernel said during a run.
pub const CONSOLE: &str = "console.log";
/// A walk that failed.
pub const WALK_LIST: &str = "walk.txt";

/// What tools that sign `SHA256SUMS` leave beside it.
pub const SIGNATURES: [&str; 4] = ["SHA256SUMS.asc", "SHA256SUMS.sig", "SHA256SUMS.minisig", "SHA256SUMS.gpg"];

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What lies in a bundle's folder, by path with `/`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Plain files.
    pub files: BTreeSet<String>,
    /// Links, devices and names that are no text: nothing that we would ever write.
    pub strange: BTreeSet<String>,
}

/// Lists a folder and all below it.
///
/// # Errors
/// What the system answered.
pub fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    list_below(folder, "", &mut listing)?;
    Ok(listing)
}

fn list_below(folder: &Path, prefix: &str, listing: &mut Listing) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let kind = entry.file_type()?;
        let is_clear = name.to_str().is_some_and(|name| !name.contains(char::is_control) && !name.contains('\\'));
        if is_clear && kind.is_dir() {
            list_below(&entry.path(), &format!("{path}/"), listing)?;
        } else if is_clear && kind.is_file() {
            listing.files.insert(path);
        } else {
            listing.strange.insert(path);
        }
    }
    Ok(())
}

/// The checksums of these files below a folder, as `sha256sum` writes them.
///
/// # Errors
/// What the system answered.
pub fn sums<'a>(folder: &Path, files: impl IntoIterator<Item = &'a String>) -> io::Result<String> {
    let mut text = String::new();
    for file in files {
        let digest = digest(&fs::read(folder.join(file))?);
        text += &format!("{digest}  {file}\n");
    }
    Ok(text)
}

/// Reads checksums as we write them: digest and path by line.
///
/// # Errors
/// The number of a line that is not so.
pub fn parse_sums(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let (digest, path) = line.split_once("  ").ok_or(index + 1)?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let is_inside = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_digest || !is_inside || sums.insert(path.to_owned(), digest.to_owned()).is_some() {
            return Err(index + 1);
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn sums_are_read_back_and_nothing_else_is() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("runs"))?;
        fs::write(folder.path().join("runs/a"), "abc")?;
        fs::write(folder.path().join("b"), "")?;
        let listing = list(folder.path())?;
        let text = sums(folder.path(), &listing.files)?;
        let read = parse_sums(&text).unwrap();
        assert_eq!(read.keys().cloned().collect::<BTreeSet<_>>(), listing.files);
        assert_eq!(read["runs/a"], digest(b"abc"));
        for wrong in [text.replace("  ", " "), text.replace("runs/a", "../a"), text.repeat(2), text.replace('a', "A")] {
            assert!(parse_sums(&wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
