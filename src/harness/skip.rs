//! Why a check was skipped: typed, so that reports count reasons and never read sentences.

use serde::{Deserialize, Serialize};

use crate::stimulus::ProfileKey;

/// Why a check was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Skip {
    /// The device does not advertise the capability, and refused its use. Its musts are not left unjudged.
    #[error("correctly absent: {what}")]
    CorrectlyAbsent {
        /// What is absent, and what the device returned when the check used it.
        what: String,
    },
    /// The uAPI leaves the matter to the driver, and this driver does not do what the check is about. Its musts are not
    /// left unjudged.
    #[error("does not apply: {why}")]
    DoesNotApply {
        /// What the driver does instead.
        why: String,
    },
    /// The run lacks what the check needs. Its musts are not judged.
    #[error("not judged: {what}")]
    Lacks {
        /// What would have them judged.
        what: Lack,
    },
}

/// What a run lacks to judge something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lack {
    /// A key of the profile.
    #[error("the profile has no `{key}`")]
    Profile {
        /// The key.
        key: ProfileKey,
    },
    /// The key is in the profile, but its program exited with the code for "not on this device".
    #[error("the program of `{key}` cannot do it on this device")]
    Program {
        /// The key.
        key: ProfileKey,
    },
    /// A kernel that has a feature.
    #[error("{feature} needs Linux {since} or later")]
    Kernel {
        /// The feature, by its name in the uAPI.
        feature: String,
        /// The first kernel that has it.
        since: String,
    },
    /// An option of the command line.
    #[error("needs {option}: {why}")]
    Option {
        /// The option as it is typed.
        option: String,
        /// What the run risks with it.
        why: String,
    },
    /// A permission on this host.
    #[error("needs a user who may write to {path}")]
    Permission {
        /// The file that could not be written.
        path: String,
    },
    /// A kernel whose own path of a transition can be seen.
    #[error("the kernel's own path was not observed: {why}")]
    Tracing {
        /// Why it cannot be seen.
        why: String,
    },
    /// A method: no profile, kernel or option has the suite judge it on this device.
    #[error("the suite has no method for it: {why}")]
    Method {
        /// What it would take.
        why: String,
    },
}

impl Skip {
    /// The skip of a check that needs a key of the profile.
    pub fn without_key(key: ProfileKey) -> Skip {
        Skip::Lacks { what: Lack::Profile { key } }
    }

    /// What the run lacks; `None` where it lacks nothing.
    pub fn lack(&self) -> Option<&Lack> {
        match self {
            Skip::Lacks { what } => Some(what),
            Skip::CorrectlyAbsent { .. } | Skip::DoesNotApply { .. } => None,
        }
    }
}

impl Lack {
    /// The key of the profile that it is about.
    pub fn key(&self) -> Option<ProfileKey> {
        match self {
            Lack::Profile { key } | Lack::Program { key } => Some(*key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_a_sentence_and_survive_the_journal() {
        let skips = [
            (Skip::without_key(ProfileKey::Dirty), "not judged: the profile has no `stimulus.dirty`"),
            (Skip::CorrectlyAbsent { what: "PRE_COPY".to_owned() }, "correctly absent: PRE_COPY"),
            (
                Skip::DoesNotApply { why: "the device has PRE_COPY".to_owned() },
                "does not apply: the device has PRE_COPY",
            ),
            (
                Skip::Lacks { what: Lack::Kernel { feature: "X".to_owned(), since: "7.1".to_owned() } },
                "not judged: X needs Linux 7.1 or later",
            ),
        ];
        for (skip, sentence) in skips {
            assert_eq!(skip.to_string(), sentence);
            let stored = serde_json::to_string(&skip).unwrap();
            assert_eq!(serde_json::from_str::<Skip>(&stored).unwrap(), skip, "{stored}");
        }
    }

    #[test]
    fn only_what_the_run_lacks_leaves_something_unjudged() {
        assert_eq!(Skip::without_key(ProfileKey::Dirty).lack().and_then(Lack::key), Some(ProfileKey::Dirty));
        assert_eq!(Skip::CorrectlyAbsent { what: String::new() }.lack(), None);
        assert_eq!(Skip::DoesNotApply { why: String::new() }.lack(), None);
    }
}
