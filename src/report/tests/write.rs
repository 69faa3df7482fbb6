use std::fs;
use std::path::Path;

use crate::report::sample::{self, journal};
use crate::report::{HTML, JSON, JUNIT, MARKDOWN, write_all};

const ALL: [&str; 5] = ["journal.jsonl", "junit.xml", "report.html", "report.json", "summary.md"];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn reports_are_made_again_from_the_journal_alone() {
    let folder = sample::folder(&journal(sample::mtty()));
    let read = || [JUNIT, JSON, HTML, MARKDOWN].map(|name| fs::read(folder.path().join(name)).unwrap());
    let first = write_all(folder.path(), None).unwrap();
    let first_files = read();
    fs::write(folder.path().join(JUNIT), "old").unwrap();

    assert_eq!(write_all(folder.path(), None).unwrap(), first);
    assert_eq!(read(), first_files);
    assert_eq!(names(folder.path()), ALL);
}

#[test]
fn a_refused_journal_leaves_the_old_reports_alone() {
    let folder = sample::folder(b"nonsense\n");
    fs::write(folder.path().join(JSON), "old").unwrap();
    let error = write_all(folder.path(), None).unwrap_err().to_string();
    assert!(error.contains("it holds something that is no event"), "{error}");
    assert_eq!(fs::read(folder.path().join(JSON)).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["journal.jsonl", "report.json"]);
}

#[test]
fn a_report_that_cannot_be_written_is_said_and_leaves_nothing_behind() {
    let folder = sample::folder(&journal(sample::mtty()));
    fs::create_dir(folder.path().join(JUNIT)).unwrap();
    let error = write_all(folder.path(), None).unwrap_err().to_string();
    let place = folder.path().display();
    let expected = format!(
        "failed to write {place}/junit.xml: Is a directory (os error 21); \
         the journal is unharmed: mend this, then run `vfio-conform report {place}`"
    );
    assert_eq!(error, expected);
    assert_eq!(names(folder.path()), ALL);
}
