//! `junit.xml`: the run for CI systems, in the form that Jenkins, GitLab and others read.
//!
//! JUnit knows three ways not to pass, and our verdicts are told apart by their `type`:
//!
//! | verdict | element |
//! |---|---|
//! | pass | none |
//! | warn | none, or `<failure type="warn">` in a strict run; `system-out` begins with `warn:` |
//! | fail | `<failure type="fail">` |
//! | hang, crash, blocked | `<error type="hang">`, `"crash"`, `"blocked"` |
//! | one that a baseline expects | `<skipped type="expected">` |
//! | skip | `<skipped type="skip: correctly absent">`, `"skip: does not apply"` or `"skip: not judged"` |

use junit_report::{Duration, OffsetDateTime, Report, TestCase, TestResult, TestSuite};
use time::format_description::well_known::Rfc3339;

use super::finding::finding_text_of;
use super::run::{CheckRun, Run};
use super::text::{clean, one_line};
use super::{console, coverage, evidence};
use crate::harness::check::Skip;
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;

/// Makes the text of `junit.xml`: a test suite for each chapter, a test case for each check.
///
/// # Errors
/// What writing XML answered.
pub fn to_xml(run: &Run) -> Result<Vec<u8>, junit_report::Error> {
    let mut report = Report::new();
    report.add_testsuites(run.chapters().into_iter().map(|chapter| suite(run, chapter)));
    let mut xml = Vec::new();
    report.write_xml(&mut xml)?;
    xml.push(b'\n');
    Ok(xml)
}

fn suite(run: &Run, chapter: &str) -> TestSuite {
    let mut suite = TestSuite::new(&attribute(chapter));
    suite.package = "vfio-conform".to_owned();
    suite.timestamp = began(run);
    suite.system_out = Some(cdata(&about(run)));
    suite.add_testcases(run.checks.iter().filter(|check| check.chapter() == chapter).map(|check| case(run, check)));
    suite
}

fn case(run: &Run, check: &CheckRun) -> TestCase {
    TestCase {
        name: attribute(check.short_name()),
        time: duration(check.outcome.seconds),
        result: result(run, check),
        classname: Some(attribute(check.chapter())),
        filepath: None,
        system_out: Some(cdata(&system_out(run, check))),
        system_err: None,
    }
}

fn result(run: &Run, check: &CheckRun) -> TestResult {
    let outcome = &check.outcome;
    let type_ = outcome.verdict.word().to_owned();
    let message = attribute(&outcome.reason());
    // Only for what shows it: most checks of most runs pass, and it takes as long as all the rest.
    let cause = || Some(cdata(&finding_text_of(run, check)));
    if run.is_expected(check) {
        return TestResult::SkippedWithCause { type_: "expected".to_owned(), message, cause: cause() };
    }
    match outcome.verdict {
        Verdict::Pass => TestResult::Success,
        Verdict::Warn if !run.began.strict => TestResult::Success,
        Verdict::Warn | Verdict::Fail => TestResult::Failure { type_, message, cause: cause() },
        Verdict::Hang | Verdict::Crash | Verdict::Blocked => TestResult::Error { type_, message, cause: cause() },
        Verdict::Skip => {
            TestResult::SkippedWithCause { type_: skip_type(outcome.skip.as_ref()).to_owned(), message, cause: None }
        }
    }
}

/// A skip because the device rightly lacks something differs from a skip because the run does.
fn skip_type(skip: Option<&Skip>) -> &'static str {
    match skip {
        Some(Skip::CorrectlyAbsent { .. }) => "skip: correctly absent",
        Some(Skip::DoesNotApply { .. }) => "skip: does not apply",
        Some(Skip::Lacks { .. }) => "skip: not judged",
        None => "skip",
    }
}

/// Everything that is known about a check.
fn system_out(run: &Run, check: &CheckRun) -> String {
    let outcome = &check.outcome;
    let mut lines = match outcome.message.is_empty() {
        true => vec![outcome.verdict.to_string()],
        false => vec![format!("{}: {}", outcome.verdict, one_line(&outcome.reason()))],
    };
    let mut section = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.extend([String::new(), format!("{title}:")]);
            lines.extend(items.into_iter().map(|item| format!("  {item}")));
        }
    };
    section("requirements", check.requirements.clone());
    section("kept", outcome.proven.clone());
    section("broken", broken(outcome));
    if !outcome.evidence.operations.is_empty() {
        let table = evidence::operations_table(&outcome.evidence.operations);
        section("operations", table);
    }
    let paths = outcome.evidence.paths.iter().map(evidence::path).collect();
    section("the kernel's own path", paths);
    section("kernel log", outcome.evidence.kernel_log.clone());
    section("notes", outcome.evidence.notes.clone());
    section("run just this check again", vec![run.reproduce(&check.name)]);
    lines.join("\n")
}

fn broken(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.broken.iter().flat_map(|broken| {
        [
            format!(
                "{} ({}): {}",
                broken.requirement,
                coverage::binds(&broken.requirement, broken.level),
                broken.statement
            ),
            format!("  asked     {}", broken.asked),
            format!("  expected  {}", broken.expected),
            format!("  came      {}", broken.actual),
        ]
    });
    lines.collect()
}

/// What was tested, and what the whole run came to.
fn about(run: &Run) -> String {
    let mut lines = vec![
        console::subject(run),
        format!("run {}, vfio-conform {}", run.began.run, run.began.tool),
        format!("verdict of the run: {} (exit code {})", coverage::verdict(run), run.exit as u8),
        format!("coverage: {}", coverage::line(&run.coverage)),
    ];
    lines.extend(console::left(run));
    lines.extend(coverage::musts(&run.coverage));
    lines.extend(coverage::not_judged(&run.coverage).iter().map(|why| format!("not judged: {why}")));
    lines.extend(run.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

/// The date of the run, which reading the journal has made sure of.
fn began(run: &Run) -> OffsetDateTime {
    OffsetDateTime::parse(&run.began.started, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Whole microseconds, so that sums stay readable; the bound keeps them from overflowing.
fn duration(seconds: f64) -> Duration {
    const LONGEST: f64 = 1e9;
    Duration::microseconds((seconds.clamp(0.0, LONGEST) * 1e6).round() as i64)
}

/// Text fit for an attribute, in which XML knows no line breaks.
fn attribute(text: &str) -> String {
    one_line(text)
}

/// Text fit for a CDATA section. What would end the section is spread over two, which read as one.
fn cdata(text: &str) -> String {
    clean(text).replace("]]>", "]]]]><![CDATA[>")
}
