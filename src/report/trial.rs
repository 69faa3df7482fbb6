//! What trying a profile came to, for people.

use super::text::{clean, one_line};
use crate::harness::verdict::Exit;
use crate::stimulus::StimulusError;
use crate::stimulus::trial::{Effect, KeyTrial};

/// How a trial ends the program.
pub fn exit(trials: &[KeyTrial]) -> Exit {
    let is_wrong = |trial: &KeyTrial| matches!(&trial.effect, Effect::Unseen(error) if error.is_wrong());
    match trials.iter().any(is_wrong) {
        true => Exit::Findings,
        false => Exit::Conforms,
    }
}

/// Each key with its steps and its effect.
pub fn text(trials: &[KeyTrial]) -> String {
    trials.iter().map(key).collect()
}

fn key(trial: &KeyTrial) -> String {
    let (verdict, why) = match &trial.effect {
        Effect::Seen(seen) => ("works", seen.clone()),
        Effect::Unseen(StimulusError::Lacking(_)) => ("absent", "checks that need it are skipped".to_owned()),
        Effect::Unseen(StimulusError::Unproven { key, why }) if *key == trial.key => ("FAILS", why.clone()),
        Effect::Unseen(error) if error.is_wrong() => ("FAILS", error.to_string()),
        Effect::Unseen(error) => ("absent", error.to_string()),
        Effect::NotTried(why) => ("not tried", why.clone()),
    };
    let mut text = format!("{verdict:<9}  {:<25}  {}\n", trial.key.to_string(), one_line(&clean(&why)));
    if matches!(&trial.effect, Effect::Unseen(error) if !error.is_wrong()) {
        return text;
    }
    for (number, step) in (1..).zip(&trial.steps) {
        let result = step.result.as_deref().unwrap_or("ok");
        text +=
            &format!("             step {number}: {}: {} ({:.1} us)\n", clean(&step.what), clean(result), step.micros);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stimulus::ProfileKey;
    use crate::stimulus::trial::StepDone;

    fn trial(key: ProfileKey, effect: Effect) -> KeyTrial {
        let step =
            StepDone { what: "write bar0 at 0x50".to_owned(), result: Some("wrote 0x1".to_owned()), micros: 2.25 };
        KeyTrial { key, steps: vec![step], effect, seconds: 0.5 }
    }

    #[test]
    fn key_without_effect_is_a_finding_and_a_key_that_is_absent_is_none() {
        let why = || "nothing moves".to_owned();
        let absent = trial(ProfileKey::Dirty, Effect::Unseen(StimulusError::Lacking(ProfileKey::Dirty)));
        let works = trial(ProfileKey::Interrupt, Effect::Seen("it arrives after 4.1 ms".to_owned()));
        let untried = trial(ProfileKey::Reconfigure, Effect::NotTried("the device has no PRE_COPY".to_owned()));
        let fails = trial(
            ProfileKey::StartWork,
            Effect::Unseen(StimulusError::Unproven { key: ProfileKey::StartWork, why: why() }),
        );
        assert_eq!(exit(&[absent.clone(), works.clone(), untried.clone()]), Exit::Conforms);
        let all = [absent, works, untried, fails];
        assert_eq!(exit(&all), Exit::Findings);
        insta::assert_snapshot!(text(&all), @r"
        absent     stimulus.dirty             checks that need it are skipped
        works      stimulus.interrupt         it arrives after 4.1 ms
                     step 1: write bar0 at 0x50: wrote 0x1 (2.2 us)
        not tried  stimulus.reconfigure       the device has no PRE_COPY
                     step 1: write bar0 at 0x50: wrote 0x1 (2.2 us)
        FAILS      stimulus.start_work        nothing moves
                     step 1: write bar0 at 0x50: wrote 0x1 (2.2 us)
        ");
    }
}
