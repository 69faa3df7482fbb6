//! Whether there is room for what a guest is made of.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// A folder with less room than this is full: what a guest needs there beside its saved state is not more.
const FULL_BELOW: u64 = 16 << 20;

/// That the file system of a folder is full, and what to do about it, to be put after an error; nothing if it is not.
pub fn hint_if_full(folder: &Path) -> String {
    let Ok(room) = statvfs(folder) else {
        return String::new();
    };
    let mebibytes = |blocks: u64| blocks.saturating_mul(room.fragment_size()) >> 20;
    let (free, size) = (mebibytes(room.blocks_available()), mebibytes(room.blocks()));
    match free < FULL_BELOW >> 20 {
        true => format!(
            "; {} is full: {free} of {size} MiB are free; make room there, or set TMPDIR to a folder with more of it",
            folder.display()
        ),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_folder_is_said_to_be_one() {
        assert_eq!(hint_if_full(Path::new("/nowhere/at/all")), "");
        // It has no blocks at all.
        let said = hint_if_full(Path::new("/proc"));
        assert!(said.starts_with("; /proc is full: 0 of 0 MiB are free; make room"), "{said}");
    }
}
