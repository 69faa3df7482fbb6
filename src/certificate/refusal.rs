//! Why a bundle is refused.

use time::Date;

use super::judge::PartName;
use crate::report::JournalFault;

/// One reason, as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There are no checksums.
    #[error("SHA256SUMS is missing, so nothing says which files belong to the certificate")]
    NoSums,
    /// The checksums are not as we write them.
    #[error(
        "SHA256SUMS is not as certify writes it (line {0}): a line is a digest, two spaces and the path of one file"
    )]
    Sums(usize),
    /// A file is not as it was.
    #[error("{0} was changed after the certificate was made: it has another checksum than SHA256SUMS says")]
    Altered(String),
    /// A file is gone.
    #[error("{0} is missing, although {1} lists it")]
    Missing(String, &'static str),
    /// A file came later.
    #[error("{0} is not in {1}, so it does not belong to the certificate")]
    Unlisted(String, &'static str),
    /// A link, a device, or a name that is no text.
    #[error("{0:?} is no plain file, and certify writes no others")]
    Strange(String),
    /// A file that no bundle has.
    #[error("{0} is no file that certify writes")]
    Foreign(String),
    /// A document cannot be understood.
    #[error("{0} is not as certify writes it: {1}")]
    Unreadable(&'static str, String),
    /// A later version made the bundle.
    #[error("its form {0} is newer than the one that this vfio-conform knows; verify it with a later version")]
    Newer(u32),
    /// The checks of another version.
    #[error(
        "the suite is vfio-conform {0}, which this one, {1}, does not know; verify it with the version that made it"
    )]
    UnknownSuite(String, String),
    /// A number of repetitions that is none.
    #[error("the certificate is of no run, so nothing was tested")]
    NoRuns,
    /// A journal that makes no sense.
    #[error("the journal of {0} cannot be trusted: {1}")]
    Journal(PartName, JournalFault),
    /// A line of a journal that cannot have been written.
    #[error("the journal of {part} cannot be trusted: {flaw} (line {line})")]
    Line {
        /// Which journal.
        part: PartName,
        /// Counts from 1.
        line: usize,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A journal without its end.
    #[error("the journal of {0} is cut off: it does not end with run_finished and a whole line")]
    CutOff(PartName),
    /// The last line does not follow from what is before it.
    #[error("the journal of {part} ends with \"{written}\", but its checks come to \"{judged}\"")]
    End {
        /// Which journal.
        part: PartName,
        /// What stands there.
        written: String,
        /// What it should be.
        judged: String,
    },
    /// A check of the suite is not in the plan.
    #[error("{0} does not have the check {1}, which belongs to the suite")]
    PlanLacks(PartName, String),
    /// The plan has a check that the suite does not have.
    #[error("{0} has the check {1}, which does not belong to the suite, or proves something else there")]
    PlanHas(PartName, String),
    /// The plan has another order than the suite.
    #[error("{0} has the check {1} in another place than the suite")]
    PlanOrder(PartName, String),
    /// Two runs are the same.
    #[error("{0} is a copy of {1}: a repetition that was run takes its own times")]
    Copied(PartName, PartName),
    /// A run does not follow the one before it.
    #[error("{0} begins before {1} is over, so they were not run one after the other")]
    Overlap(PartName, PartName),
    /// A run does not say when it began in which boot, while another one does.
    #[error("the journal of {0} does not record its boot and the time since then, as that of {1} does")]
    NoClock(PartName, PartName),
    /// Two runs belong to two boots.
    #[error("{0} was made in another boot of the machine than {1}; certify makes all runs in one boot")]
    OtherBoot(PartName, PartName),
    /// A run is of the future.
    #[error("{0} began on {1}, a day that has not come yet")]
    Future(PartName, Date),
    /// A run is not the one that the certificate speaks of.
    #[error("{part} is not of the {what} that the certificate speaks of: {found} instead of {expected}")]
    Other {
        /// Which run.
        part: PartName,
        /// Of what.
        what: &'static str,
        /// What the journal says.
        found: String,
        /// What the bundle says elsewhere.
        expected: String,
    },
    /// A lab that was never ready.
    #[error("{0} never had its device open, so it tested nothing")]
    NeverReady(PartName),
    /// The walk is shorter than asked.
    #[error("the walk is not the one of {asked}: its journal says {found:?}")]
    Walk {
        /// What the certificate says.
        asked: String,
        /// What the journal says.
        found: String,
    },
    /// A report does not say what its journal says.
    #[error("{0} does not say what the journal beside it comes to")]
    Report(String),
    /// A report cannot be made again.
    #[error("the reports of {0} cannot be made again from its journal: {1}")]
    NoReport(PartName, String),
    /// The verdict does not follow from the journals.
    #[error("certificate.json says \"{written}\", but the journals and waivers come to \"{judged}\"")]
    Verdict {
        /// What stands there.
        written: String,
        /// What it should be.
        judged: String,
    },
    /// The statement does not follow from the bundle.
    #[error("STATEMENT.txt does not say what the rest of the certificate comes to, first in line {0}")]
    Statement(usize),
    /// A waiver does not hold any more.
    #[error("the waiver of {0} expired on {1}")]
    Expired(String, Date),
    /// A waiver did not hold when the tests ran.
    #[error("the waiver of {0} had expired on {1}, before {2} began")]
    ExpiredThen(String, Date, PartName),
}

/// What is wrong with one line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It says more than an event does.
    #[error("it says something that vfio-conform never writes")]
    Alien,
    /// Time runs backwards.
    #[error("it is earlier than the line before it")]
    Backwards,
    /// Checks are not in the planned order.
    #[error("the check {found} is there where {expected} belongs")]
    OutOfTurn {
        /// Which is there.
        found: String,
        /// Which should be.
        expected: String,
    },
    /// A check did not run.
    #[error("the run ends without a result of the check {0}")]
    NoResult(String),
    /// A check runs before there is a device.
    #[error("a check runs before the device was open")]
    NotReady,
    /// A certificate's runs end in one go, in one boot.
    #[error("the run was cut off and resumed")]
    Resumed,
    /// A check passes and proves nothing.
    #[error("the check {0} passes without having kept a requirement of its own")]
    ProvesNothing(String),
    /// A check proves what it cannot prove.
    #[error("the check {0} proves {1}, which it cannot")]
    ProvesOther(String, String),
    /// A broken requirement is not that of the catalogue.
    #[error("the broken requirement {0} is not as the suite has it")]
    NotCatalogued(String),
    /// A verdict does not follow from what was broken.
    #[error("the check {0} has a verdict that does not follow from what it broke")]
    WrongVerdict(String),
}
