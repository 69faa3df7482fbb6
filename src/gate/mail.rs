//! Which mails of a mailbox are the patch: the newest revision of each series, and no reply.
//!
//! An archive gives a whole thread: several revisions of a series, the discussion, and diffs that somebody proposed in a
//! reply. Applying all of them would test something that nobody sent.

use std::collections::BTreeMap;

use serde::Serialize;

/// A mail of a mailbox and whether it became part of the patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailUse {
    /// Its subject.
    pub subject: String,
    /// Its sender, as the mail gives it.
    pub from: String,
    /// Whether it was used, and if not, why.
    #[serde(flatten)]
    pub fate: Fate,
}

/// Why a mail is, or is not, part of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "use", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fate {
    /// Its diff is applied.
    Applied,
    /// A later mail replaces it.
    Superseded {
        /// The revision of that mail.
        by: u32,
    },
    /// It is a reply; a diff in it is a proposal and no part of the patch.
    Reply,
    /// It carries no diff.
    NoDiff,
}

/// Why a mailbox holds no whole patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("revision {revision} of \"{title}\" has {total} patches, and number {missing} is not in the mailbox")]
pub struct Incomplete {
    /// The revision, from 1 on.
    pub revision: u32,
    /// The title of one of its patches.
    pub title: String,
    /// How many patches it has.
    pub total: u32,
    /// The first one that is missing, from 1 on.
    pub missing: u32,
}

/// A mail as the choice sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    /// The whole subject.
    pub subject: String,
    /// The sender.
    pub from: String,
    /// Its Message-ID; empty where it has none.
    pub id: String,
    /// The Message-IDs that it refers to, the root of the thread first.
    pub references: Vec<String>,
    /// Its text, decoded.
    pub body: Vec<u8>,
    /// Whether that text has a diff that is not quoted.
    pub has_diff: bool,
}

/// What a subject says: `[PATCH v2 3/5] title`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    is_reply: bool,
    is_tagged: bool,
    revision: u32,
    /// Number and total; 1 of 1 where the subject gives none.
    number: u32,
    total: u32,
    title: String,
}

/// One sending of a series: a mail for each number.
#[derive(Debug)]
struct Series {
    sender: String,
    revision: u32,
    total: u32,
    thread: String,
    /// Mails by their number; 0 is the cover letter.
    mails: BTreeMap<u32, usize>,
}

/// Decides for each mail, and returns the numbers of those to apply, in their order.
///
/// # Errors
/// That the newest revision of a series is not whole.
pub fn choose(mails: &[Mail]) -> Result<(Vec<usize>, Vec<MailUse>), Incomplete> {
    let subjects: Vec<Subject> = mails.iter().map(|mail| parse(&mail.subject)).collect();
    let mut fates: Vec<Fate> = mails.iter().zip(&subjects).map(|(mail, subject)| at_first(mail, subject)).collect();
    let all = collect_series(mails, &subjects, &fates);
    let works = group(mails, &subjects, all);
    let mut applied = Vec::new();
    for (at, work) in works.iter().enumerate() {
        let others = works.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, other)| other);
        if is_side_remark(mails, work, others) {
            mark(&mut fates, work, Fate::Reply);
            continue;
        }
        let newest = newest_of(&subjects, work)?;
        let revision = work.iter().map(|series| series.revision).max().unwrap_or(1);
        mark(&mut fates, work, Fate::Superseded { by: revision });
        newest.iter().for_each(|at| fates[*at] = Fate::Applied);
        applied.extend(newest);
    }
    for (fate, mail) in fates.iter_mut().zip(mails) {
        if !mail.has_diff {
            *fate = Fate::NoDiff;
        }
    }
    let account = mails.iter().zip(fates).map(|(mail, fate)| MailUse {
        subject: mail.subject.clone(),
        from: mail.from.clone(),
        fate,
    });
    Ok((applied, account.collect()))
}

fn at_first(mail: &Mail, subject: &Subject) -> Fate {
    let is_discussion = subject.is_reply || (!subject.is_tagged && !mail.references.is_empty());
    match (is_discussion, mail.has_diff || subject.number == 0) {
        (true, _) => Fate::Reply,
        (false, true) => Fate::Applied,
        (false, false) => Fate::NoDiff,
    }
}

fn mark(fates: &mut [Fate], work: &[Series], fate: Fate) {
    for at in work.iter().flat_map(|series| series.mails.values()) {
        fates[*at] = fate;
    }
}

/// Sorts patch mails into sendings. A number that is taken by another title begins another sending.
fn collect_series(mails: &[Mail], subjects: &[Subject], fates: &[Fate]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (at, (mail, subject)) in mails.iter().zip(subjects).enumerate() {
        if fates[at] != Fate::Applied {
            continue;
        }
        let sender = address(&mail.from);
        let thread = mail.references.first().unwrap_or(&mail.id).clone();
        let fits = |series: &&mut Series| {
            series.sender == sender
                && series.revision == subject.revision
                && series.total == subject.total
                && match series.mails.get(&subject.number) {
                    // The same mail, resent or archived twice: the later one counts.
                    Some(other) => subjects[*other].title == subject.title,
                    None => {
                        subject.total > 1
                            && (series.thread == thread || thread.is_empty() || mail.references.is_empty())
                    }
                }
        };
        match all.iter_mut().find(fits) {
            Some(series) => drop(series.mails.insert(subject.number, at)),
            None => all.push(Series {
                sender,
                revision: subject.revision,
                total: subject.total,
                thread,
                mails: BTreeMap::from([(subject.number, at)]),
            }),
        }
    }
    all
}

/// Puts the revisions of one work together: sendings that share a title, or a sender and a thread.
fn group(mails: &[Mail], subjects: &[Subject], all: Vec<Series>) -> Vec<Vec<Series>> {
    let mut works: Vec<Vec<Series>> = Vec::new();
    for series in all {
        let is_kin = |other: &Series| {
            let shares_title = series
                .mails
                .values()
                .any(|one| other.mails.values().any(|two| subjects[*one].title == subjects[*two].title));
            let is_next = series.sender == other.sender
                && series.revision != other.revision
                && (!series.thread.is_empty() && series.thread == other.thread || refers_to(mails, &series, other));
            shares_title || is_next
        };
        match works.iter_mut().find(|work| work.iter().any(is_kin)) {
            Some(work) => work.push(series),
            None => works.push(vec![series]),
        }
    }
    works
}

/// Whether a sending was sent in reply to another one.
fn refers_to(mails: &[Mail], series: &Series, other: &Series) -> bool {
    let ids: Vec<&str> = other.mails.values().map(|at| mails[*at].id.as_str()).filter(|id| !id.is_empty()).collect();
    let mut references = series.mails.values().flat_map(|at| &mails[*at].references);
    references.any(|reference| ids.contains(&reference.as_str()))
}

/// Whether a single patch was sent into the discussion of another series.
fn is_side_remark<'a>(mails: &[Mail], work: &[Series], mut others: impl Iterator<Item = &'a Series>) -> bool {
    let [only] = work else { return false };
    only.total == 1 && others.any(|other| refers_to(mails, only, other))
}

/// The mails of the newest revision, in the order of their numbers. A single patch of a later revision, sent in reply to
/// the series, takes the place of the one with its number.
fn newest_of(subjects: &[Subject], work: &[Series]) -> Result<Vec<usize>, Incomplete> {
    let mut in_order: Vec<&Series> = work.iter().collect();
    in_order.sort_by_key(|series| series.revision);
    let mut chosen: BTreeMap<u32, usize> = BTreeMap::new();
    let mut total = 0;
    for series in in_order {
        let is_correction = series.total == total && series.mails.keys().filter(|number| **number > 0).count() == 1;
        if !is_correction {
            chosen.clear();
        }
        total = series.total;
        chosen.extend(series.mails.iter().filter(|(number, _)| **number > 0));
    }
    let Some(missing) = (1..=total).find(|number| !chosen.contains_key(number)) else {
        return Ok(chosen.into_values().collect());
    };
    let newest = work.iter().max_by_key(|series| series.revision);
    let title = newest.and_then(|series| series.mails.values().next()).map(|at| subjects[*at].title.clone());
    let revision = newest.map_or(1, |series| series.revision);
    Err(Incomplete { revision, title: title.unwrap_or_default(), total, missing })
}

fn address(from: &str) -> String {
    let inner = from.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(from, |(inner, _)| inner);
    inner.trim().to_lowercase()
}

fn parse(subject: &str) -> Subject {
    let mut rest = subject.trim();
    let mut is_reply = false;
    while let Some((_, after)) = rest.split_once(':').filter(|(word, _)| is_reply_word(word)) {
        is_reply = true;
        rest = after.trim_start();
    }
    let mut parsed = Subject { is_reply, is_tagged: false, revision: 1, number: 1, total: 1, title: String::new() };
    while let Some((tag, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        tag.split_whitespace().for_each(|word| parsed.take(word));
        rest = after.trim_start();
    }
    parsed.title = rest.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    parsed
}

fn is_reply_word(word: &str) -> bool {
    ["re", "aw", "sv", "antw", "fwd", "fw"].contains(&word.trim().to_lowercase().as_str())
}

impl Subject {
    /// Reads one word of a tag: `PATCH`, `RFC`, `v2`, `PATCHv2`, `3/5`.
    fn take(&mut self, word: &str) {
        let upper = word.to_uppercase();
        if let Some((number, total)) = word.split_once('/')
            && let (Ok(number), Ok(total)) = (number.parse(), total.parse())
        {
            (self.number, self.total) = (number, total);
            return;
        }
        let version = upper.strip_prefix("PATCH").or_else(|| upper.strip_prefix("RFC")).unwrap_or(&upper);
        if version.len() < upper.len() {
            self.is_tagged = true;
        }
        if let Some(revision) = version.strip_prefix('V').and_then(|digits| digits.parse().ok()) {
            self.revision = revision;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(id: &str, references: &[&str], subject: &str) -> Mail {
        Mail {
            subject: subject.to_owned(),
            from: "Ann Author <ann@example.org>".to_owned(),
            id: id.to_owned(),
            references: references.iter().map(|id| (*id).to_owned()).collect(),
            body: Vec::new(),
            has_diff: !subject.contains(" 0/"),
        }
    }

    fn from(sender: &str, mail: Mail) -> Mail {
        Mail { from: sender.to_owned(), ..mail }
    }

    fn chosen(mails: &[Mail]) -> Vec<&str> {
        choose(mails).unwrap().0.into_iter().map(|at| mails[at].id.as_str()).collect()
    }

    #[test]
    fn newest_revision_replaces_older_ones_in_one_thread_or_in_several() {
        let of_two_threads = [mail("a", &[], "[PATCH v19] vfio: x"), mail("b", &[], "[PATCH v20] vfio: x")];
        assert_eq!(chosen(&of_two_threads), ["b"]);
        let renamed = [
            mail("a", &[], "[PATCH 0/2] old"),
            mail("a1", &["a"], "[PATCH 1/2] one"),
            mail("a2", &["a"], "[PATCH 2/2] two"),
            mail("b", &["a"], "[PATCH v2 0/1] new"),
            mail("b1", &["a", "b"], "[PATCH v2 1/1] both"),
        ];
        assert_eq!(chosen(&renamed), ["b1"]);
        let uses = choose(&renamed).unwrap().1;
        let fates: Vec<Fate> = uses.into_iter().map(|mail| mail.fate).collect();
        let old = Fate::Superseded { by: 2 };
        assert_eq!(fates, [Fate::NoDiff, old, old, Fate::NoDiff, Fate::Applied]);
    }

    #[test]
    fn order_in_the_mailbox_does_not_matter() {
        let mails = [
            mail("b2", &["b1"], "[PATCH v3 2/2] two"),
            mail("a1", &[], "[PATCH v2 1/2] one"),
            mail("b1", &[], "[PATCH v3 1/2] one"),
            mail("a2", &["a1"], "[PATCH v2 2/2] two"),
        ];
        assert_eq!(chosen(&mails), ["b1", "b2"]);
    }

    #[test]
    fn diffs_in_replies_are_no_part_of_the_patch() {
        let mails = [
            mail("a", &[], "[PATCH] vfio: x"),
            from("Bob <bob@example.org>", mail("r", &["a"], "Re: [PATCH] vfio: x")),
            from("Bob <bob@example.org>", mail("s", &["a", "r"], "[PATCH] how about this")),
            from("Bob <bob@example.org>", mail("t", &["a"], "how about this")),
        ];
        let (applied, uses) = choose(&mails).unwrap();
        assert_eq!(applied, [0]);
        assert!(uses[1..].iter().all(|mail| mail.fate == Fate::Reply), "{uses:?}");
    }

    #[test]
    fn a_single_patch_of_a_later_revision_replaces_the_one_with_its_number() {
        let mails = [
            mail("a", &[], "[PATCH v2 0/2] cover"),
            mail("a1", &["a"], "[PATCH v2 1/2] one"),
            mail("a2", &["a"], "[PATCH v2 2/2] two"),
            mail("c2", &["a", "a2"], "[PATCH v3 2/2] two"),
        ];
        assert_eq!(chosen(&mails), ["a1", "c2"]);
    }

    #[test]
    fn a_series_with_a_missing_mail_is_refused() {
        let mails = [mail("a1", &[], "[PATCH v2 1/3] one"), mail("a3", &["a1"], "[PATCH v2 3/3] three")];
        let missing = choose(&mails).unwrap_err();
        assert_eq!((missing.revision, missing.total, missing.missing), (2, 3, 2));
    }

    #[test]
    fn unrelated_patches_are_applied_one_after_the_other() {
        let mails = [
            mail("", &[], "[PATCH 1/2] one"),
            mail("", &[], "[PATCH 2/2] two"),
            mail("x", &[], "[PATCH] another"),
            mail("y", &[], "A plain subject"),
        ];
        let (applied, _) = choose(&mails).unwrap();
        assert_eq!(applied, [0, 1, 2, 3]);
    }

    #[test]
    fn a_mail_that_was_resent_or_archived_twice_counts_once() {
        let mails =
            [mail("a", &[], "[PATCH v2] x"), mail("b", &[], "[RESEND PATCH v2] x"), mail("b", &[], "[PATCH v2] x")];
        assert_eq!(choose(&mails).unwrap().0, [2]);
    }

    #[test]
    fn subjects_are_read_as_people_write_them() {
        let of = |text: &str| {
            let subject = parse(text);
            (subject.is_reply, subject.is_tagged, subject.revision, subject.number, subject.total, subject.title)
        };
        let title = || "vfio: x".to_owned();
        assert_eq!(of("[PATCH v2 3/5] vfio: x"), (false, true, 2, 3, 5, title()));
        assert_eq!(of("[RFC PATCHv4 vfio  1/2] vfio:  X"), (false, true, 4, 1, 2, title()));
        assert_eq!(of("RE: Re: [PATCH] vfio: x"), (true, true, 1, 1, 1, title()));
        assert_eq!(of("[net-next] [RFCv3] vfio: x"), (false, true, 3, 1, 1, title()));
        assert_eq!(of("vfio: x"), (false, false, 1, 1, 1, title()));
    }
}
