//! What came of all faults, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use super::judge::Finding;
use super::run::{Tried, TriedResult};
use crate::harness::verdict::Exit;

/// The result of trying faults.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matrix {
    /// Every fault that was tried, in order.
    pub faults: Vec<Tried>,
    /// Each requirement that some fault breaks, with the faults by which it was rightly accused.
    pub proven: BTreeMap<String, BTreeSet<String>>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

impl Matrix {
    /// Puts results together.
    pub fn new(faults: Vec<Tried>, seconds: f64) -> Matrix {
        let mut proven: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for tried in &faults {
            if let TriedResult::Judged(finding) = &tried.result {
                for requirement in finding.caught.keys() {
                    proven.entry(requirement.clone()).or_default().insert(tried.fault.clone());
                }
            }
        }
        Matrix { faults, proven, seconds }
    }

    /// 0 if the suite was right about every fault that was not left out, 1 if it was wrong about one, 3 if one could not be
    /// tried, 125 if there was none.
    pub fn exit(&self) -> Exit {
        let is_untried = |tried: &Tried| matches!(tried.result, TriedResult::NotTried(_));
        if self.not_left_out().next().is_none() {
            return Exit::NothingTested;
        }
        if self.faults.iter().any(is_untried) {
            return Exit::Unfinished;
        }
        match self.not_left_out().all(Tried::is_right) {
            true => Exit::Conforms,
            false => Exit::Findings,
        }
    }

    fn not_left_out(&self) -> impl Iterator<Item = &Tried> {
        self.faults.iter().filter(|tried| !matches!(tried.result, TriedResult::LeftOut(_)))
    }

    /// How many faults were tried, how many of these were caught, and a remark on those that were left out.
    fn count(&self) -> (usize, usize, String) {
        let tried = self.not_left_out().count();
        let right = self.not_left_out().filter(|tried| tried.is_right()).count();
        let remark = match self.faults.len() - tried {
            0 => String::new(),
            left_out => format!(", {left_out} left out"),
        };
        (tried, right, remark)
    }

    /// The text for a terminal: a block for each fault that the suite was wrong about, a line for each other one.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for tried in &self.faults {
            text += &line(tried);
        }
        let (count, right, left_out) = self.count();
        let _ = writeln!(
            text,
            "\nfaults       {count} tried: {right} caught, {} not{left_out}; {} requirements shown to be judged, in {:.0} s",
            count - right,
            self.proven.len(),
            self.seconds
        );
        text
    }

    /// The page that one can look at: which requirement is proven by which fault, and what each check said.
    pub fn to_html(&self) -> String {
        let mut rows = String::new();
        for tried in &self.faults {
            rows += &row(tried);
        }
        let (count, right, left_out) = self.count();
        let summary = format!(
            "{count} faults tried{left_out}; {right} of them caught and blamed on what they break; {} requirements shown to be judged.",
            self.proven.len()
        );
        PAGE.replace("{summary}", &escape(&summary)).replace("{rows}", &rows)
    }
}

const PAGE: &str = include_str!("../../reports/templates/faults.html");

/// So many checks are all told of.
const FEW_CHECKS: usize = 40;

fn line(tried: &Tried) -> String {
    let mut text = match &tried.result {
        TriedResult::NotTried(why) => format!("not tried  {}: {why}\n", tried.fault),
        TriedResult::LeftOut(why) => format!("left out   {}: {why}\n", tried.fault),
        TriedResult::Judged(finding) => {
            let word = if finding.is_right() { "caught" } else { "WRONG" };
            format!("{word:<9}  {:<44} {}\n", tried.fault, by(finding))
        }
    };
    if let TriedResult::Judged(finding) = &tried.result {
        for requirement in &finding.missed {
            let _ = writeln!(text, "             missed: {requirement} ({})", tried.defect);
        }
        for (requirement, check) in &finding.blamed {
            let _ = writeln!(text, "             blamed without cause: {requirement}, by {check}");
        }
        for (check, words) in finding.said.iter().filter(|(_, words)| !finding.is_right() && tells(finding, words)) {
            let _ = writeln!(text, "             {check} said: {words}");
        }
    }
    text
}

/// Whether what a check said tells something: of many, those that passed or were skipped do not.
fn tells(finding: &Finding, words: &str) -> bool {
    let is_silent = words == "pass" || words.starts_with("skip");
    !is_silent || finding.said.len() <= FEW_CHECKS
}

/// The requirements that were rightly accused, each with its check.
fn by(finding: &Finding) -> String {
    let parts: Vec<String> =
        finding.caught.iter().map(|(requirement, caught)| format!("{requirement} by {}", caught.check)).collect();
    parts.join(", ")
}

fn row(tried: &Tried) -> String {
    let (class, word) = match &tried.result {
        TriedResult::NotTried(_) => ("untried", "not tried"),
        TriedResult::LeftOut(_) => ("untried", "left out"),
        TriedResult::Judged(finding) if finding.is_right() => ("caught", "caught"),
        TriedResult::Judged(_) => ("wrong", "wrong"),
    };
    let mut cell = String::new();
    match &tried.result {
        TriedResult::NotTried(why) | TriedResult::LeftOut(why) => cell += &escape(why),
        TriedResult::Judged(finding) => {
            for (requirement, caught) in &finding.caught {
                let [requirement, check, message] = [requirement, &caught.check, &caught.message].map(|s| escape(s));
                let _ = write!(cell, "<p><b>{requirement}</b> by <code>{check}</code><br>{message}</p>");
            }
            for (requirement, followed) in &finding.followed {
                let [requirement, check, message] =
                    [requirement, &followed.check, &followed.message].map(|s| escape(s));
                let _ = write!(cell, "<p>follows: {requirement} by <code>{check}</code><br>{message}</p>");
            }
            for requirement in &finding.missed {
                let _ = write!(cell, "<p>missed: <b>{}</b></p>", escape(requirement));
            }
            for (requirement, check) in &finding.blamed {
                let _ = write!(cell, "<p>without cause: <b>{}</b> by {}</p>", escape(requirement), escape(check));
            }
        }
    }
    let [fault, defect, origin] = [&tried.fault, &tried.defect, &tried.origin].map(|s| escape(s));
    format!(
        "<tr class=\"{class}\"><td>{word}</td><td><code>{fault}</code><br>{defect}<br><small>{origin}</small></td>\
         <td>{cell}</td></tr>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
