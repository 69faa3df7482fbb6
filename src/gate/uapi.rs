//! What a patch or another kernel changes in the text of the protocol, and which requirements that concerns.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reference::Reference;
use crate::catalogue::trace::{self, Change};
use crate::lab::environment::{CoreOptions, Environment};
use crate::report::text::one_line;

/// The header in a kernel tree.
const HEADER: &str = "include/uapi/linux/vfio.h";

/// One side: what it was named, its patches, and where its source was put if it is a revision.
#[derive(Debug, Clone, Copy)]
pub struct UapiSide<'a> {
    /// As it was named.
    pub reference: &'a Reference,
    /// Its patches.
    pub patches: &'a [PathBuf],
    /// Where its source is if it is a revision.
    pub source: &'a Path,
}

/// What the head says otherwise than the base.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UapiChanges {
    /// The sentences on migration that are new, changed or gone.
    pub sentences: Vec<Change>,
    /// Why they are not known, if the two headers could not be compared.
    pub obstacle: Option<String>,
}

impl UapiChanges {
    /// Compares the headers of the two sides. A patch to something else does not touch them, and a finished run has none.
    pub fn between(base: UapiSide<'_>, head: UapiSide<'_>, tell: &mut dyn FnMut(&str)) -> UapiChanges {
        if base.reference == head.reference && !head.patches.iter().any(|patch| touches_header(patch)) {
            return UapiChanges::default();
        }
        let is_built = !head.patches.is_empty();
        let compared = header_of(base, is_built, tell).and_then(|before| {
            let Some(before) = before else { return Ok(Vec::new()) };
            let Some(after) = header_of(head, is_built, tell)? else { return Ok(Vec::new()) };
            trace::changes(&before, &after).map_err(|error| error.to_string())
        });
        match compared {
            Ok(sentences) => UapiChanges { sentences, obstacle: None },
            Err(why) => UapiChanges { sentences: Vec::new(), obstacle: Some(why) },
        }
    }

    /// For people, a line for each sentence.
    pub fn lines(&self) -> Vec<String> {
        let obstacle =
            self.obstacle.iter().map(|why| format!("the uAPI headers could not be compared: {}", one_line(why)));
        self.sentences.iter().map(line).chain(obstacle).collect()
    }
}

fn line(change: &Change) -> String {
    let text = change.text.as_ref().map_or(String::new(), |text| format!(" \"{}\"", one_line(text)));
    format!("{}, {}:{text}: {}", change.kind.word(), one_line(&change.place()), change.judged_by())
}

fn touches_header(patch: &Path) -> bool {
    // One that cannot be read does not apply either, which is reported there.
    let Ok(text) = fs::read(patch) else { return false };
    String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("+++ ") && line.contains(HEADER))
}

/// The header of a side, with its patches, if it has one.
fn header_of(side: UapiSide<'_>, is_built: bool, tell: &mut dyn FnMut(&str)) -> Result<Option<PathBuf>, String> {
    let spec = match side.reference {
        Reference::Run(_) => return Ok(None),
        Reference::Kernel(spec) if Path::new(spec).is_file() => return Ok(None),
        Reference::Kernel(spec) => spec.clone(),
        Reference::Tree(path) => path.display().to_string(),
        // Its patches are applied to a copy elsewhere.
        Reference::Revision { .. } if !side.patches.is_empty() => return Ok(None),
        Reference::Revision { .. } => return Ok(Some(side.source.join(HEADER)).filter(|header| header.is_file())),
    };
    let core = CoreOptions { core: is_built, patch: side.patches.to_vec(), ..CoreOptions::default() };
    Environment::new(tell).header(&spec, &core).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sentence: &str) -> String {
        format!("/*\n * {sentence}\n */\n#define VFIO_DEVICE_FEATURE_MIGRATION 1\n")
    }

    fn side<'a>(reference: &'a Reference, source: &'a Path) -> UapiSide<'a> {
        UapiSide { reference, patches: &[], source }
    }

    #[test]
    fn sentences_that_a_revision_changes_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let revision = |name: &str| Reference::Revision { tree: "tree".into(), revision: name.to_owned() };
        let sources = [("old", "It stops."), ("new", "It may stop.")].map(|(name, sentence)| {
            let source = folder.path().join(name);
            fs::create_dir_all(source.join("include/uapi/linux")).expect("writable");
            fs::write(source.join(HEADER), header(sentence)).expect("writable");
            source
        });
        let (old, new) = (revision("old"), revision("new"));
        let changes = UapiChanges::between(side(&old, &sources[0]), side(&new, &sources[1]), &mut |_| {});
        assert_eq!(
            changes.lines(),
            [
                "changed, line 2 (VFIO_DEVICE_FEATURE_MIGRATION, sentence 1): \"It may stop.\": not judged by any requirement"
            ]
        );
        let same = UapiChanges::between(side(&old, &sources[0]), side(&new, &sources[0]), &mut |_| {});
        assert_eq!(same, UapiChanges::default());
    }

    #[test]
    fn patch_to_something_else_is_not_compared() {
        let folder = tempfile::tempdir().expect("a folder");
        let patch = folder.path().join("a.patch");
        for (file, touches) in [(HEADER, true), ("drivers/vfio/vfio_main.c", false)] {
            fs::write(&patch, format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-a\n+b\n")).expect("writable");
            assert_eq!(touches_header(&patch), touches, "{file}");
        }
        let kernel = Reference::Kernel("no such kernel".to_owned());
        let patches = [patch];
        let head = UapiSide { reference: &kernel, patches: &patches, source: folder.path() };
        let changes = UapiChanges::between(side(&kernel, folder.path()), head, &mut |_| {});
        assert_eq!(changes, UapiChanges::default());
    }

    #[test]
    fn finished_runs_have_no_header() {
        let (old, new) = (Reference::Run("a".into()), Reference::Run("b".into()));
        let changes = UapiChanges::between(side(&old, Path::new("a")), side(&new, Path::new("b")), &mut |_| {});
        assert_eq!(changes, UapiChanges::default());
    }
}
