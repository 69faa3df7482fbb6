//! The requirements of other chapters that a walk judges by, each under the name of what it says.

use crate::requirement::{Requirement, precopy, resume, stop_copy};

/// What a walk calls a requirement of the chapters on streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// In PRE_COPY the end of what there is reads as ENOMSG.
    TemporaryEnd,
    /// After that the session goes on.
    TemporaryIsTemporary,
    /// In STOP_COPY no read answers ENOMSG.
    NoTemporaryEnd,
    /// The permanent end stays.
    PermanentEnd,
    /// poll says readable at the permanent end.
    EndReadable,
    /// Any reads will do, by vectors too.
    AnyRead,
    /// A read of no bytes answers 0.
    EmptyRead,
    /// A write of no bytes answers 0.
    EmptyWrite,
    /// Where PRECOPY_INFO announces data, read delivers some.
    Delivers,
    /// initial_bytes is not 0 at first.
    InitialAtFirst,
    /// initial_bytes grows only with REINIT.
    InitialNeverGrows,
    /// PRECOPY_INFO works in both states of PRE_COPY.
    InfoWorks,
    /// PRECOPY_INFO is refused elsewhere.
    InfoElsewhere,
    /// PRECOPY_INFO refuses an `argsz` that is too small.
    InfoArgsz,
    /// PRECOPY_INFO answers EFAULT where it cannot write.
    InfoMemory,
    /// After the opt-in the flags of PRECOPY_INFO are an answer.
    InfoFlags,
    /// MIG_DATA_SIZE answers in every state.
    SizeAnywhere,
    /// MIG_DATA_SIZE answers no absurd number.
    SizeSane,
    /// A good stream can be written in any portions.
    Segmentation,
    /// After a write that failed the way out fails.
    FailureSticks,
    /// A stream of nothing is refused.
    EmptyRefused,
    /// A stream without its end is refused.
    TruncatedRefused,
    /// A stream with something behind its end is refused.
    TrailingRefused,
}

impl Rule {
    /// The requirement that says so.
    pub(super) fn requirement(self) -> &'static Requirement {
        match self {
            Rule::TemporaryEnd => &precopy::EOS_ENOMSG,
            Rule::TemporaryIsTemporary => &precopy::EOS_TEMPORARY,
            Rule::NoTemporaryEnd => &stop_copy::NO_ENOMSG,
            Rule::PermanentEnd => &stop_copy::END_PERMANENT,
            Rule::EndReadable => &stop_copy::END_READABLE,
            Rule::AnyRead => &stop_copy::ANY_READ,
            Rule::EmptyRead => &stop_copy::EMPTY_READ,
            Rule::EmptyWrite => &resume::EMPTY_WRITE,
            Rule::Delivers => &precopy::DELIVERS,
            Rule::InitialAtFirst => &precopy::INITIAL_AT_FIRST,
            Rule::InitialNeverGrows => &precopy::INITIAL_NEVER_GROWS,
            Rule::InfoWorks => &precopy::INFO_WORKS,
            Rule::InfoElsewhere => &precopy::INFO_ELSEWHERE,
            Rule::InfoArgsz => &precopy::INFO_ARGSZ_SMALL,
            Rule::InfoMemory => &precopy::INFO_EFAULT,
            Rule::InfoFlags => &precopy::V2_FLAGS,
            Rule::SizeAnywhere => &stop_copy::SIZE_ANY_STATE,
            Rule::SizeSane => &stop_copy::SIZE_SANE,
            Rule::Segmentation => &resume::ANY_WRITE,
            Rule::FailureSticks => &resume::FAILURE_STICKS,
            Rule::EmptyRefused => &resume::EMPTY,
            Rule::TruncatedRefused => &resume::TRUNCATED,
            Rule::TrailingRefused => &resume::TRAILING,
        }
    }
}
