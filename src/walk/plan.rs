//! What a walk does: a list of operations that follows from its seed.
//!
//! The generator guesses where a device would be that does everything right, so that what it chooses makes sense most of
//! the time; it never asks the device. Weights keep an eye on cost: a reset of a PCI function takes a tenth of a second.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::operation::{Malformation, Operation, Portion};
use super::traffic::PAGES;
use crate::fsm::{Route, route};
use crate::stimulus::DmaDirection;
use crate::uapi::feature::Feature;
use crate::uapi::state::{Capabilities, State};

/// Each stretch of so many operations begins with a reset and forgets what was before it, so that a failure is never
/// further than this from its cause.
pub const SEGMENT: usize = 1000;

/// Numbers that are no state: just beyond, and at the edges of the types that a driver might keep them in.
const NO_STATES: [u32; 5] = [8, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

const SIZES: [u32; 8] = [1, 3, 16, 64, 509, 4096, 5000, 65536];
const DIRTIES: [u32; 4] = [1, 64, 4096, 20_000];
const FEATURES: [Feature; 4] =
    [Feature::Migration, Feature::MigDeviceState, Feature::MigDataSize, Feature::MigPrecopyInfoV2];

/// The operations of one segment of the walk with this seed.
pub fn plan(capabilities: Capabilities, seed: u64, segment: u64) -> Vec<Operation> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Each segment has numbers of its own, so that it can be had without those before it.
    random.set_stream(segment);
    let mut planner = Planner { random, capabilities, guess: Guess::At(State::Running), loaded: Loaded::Nothing };
    (0..SEGMENT).map(|_| planner.next()).collect()
}

struct Planner {
    random: ChaCha8Rng,
    capabilities: Capabilities,
    guess: Guess,
    loaded: Loaded,
}

/// Where the device is, if it does everything right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    At(State),
    /// In this state, and the next transition may fail.
    Doomed(State),
    /// Nobody knows, and only a reset leads out for sure.
    Stuck,
}

/// What a RESUMING session was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Nothing,
    Part,
    Whole,
    Rubbish,
}

impl Planner {
    fn next(&mut self) -> Operation {
        let gives_up = self.chance(1, 4);
        let operation = match self.guess {
            Guess::Stuck if gives_up => Operation::Reset,
            Guess::At(State::Resuming) | Guess::Doomed(State::Resuming) => self.in_resuming(),
            _ => self.anywhere(),
        };
        self.follow(operation);
        operation
    }

    /// A number below `bound`. By hand, since how a library makes it may change from one version to the next.
    fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.random.next_u32()) * bound as u64) >> 32) as usize
    }

    fn chance(&mut self, of: usize, among: usize) -> bool {
        self.below(among) < of
    }

    fn choose<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    fn anywhere(&mut self) -> Operation {
        match self.below(1000) {
            0..270 => Operation::Set(self.target()),
            270..330 => Operation::Get,
            330..490 => Operation::Read(self.choose(&SIZES)),
            490..500 => Operation::Read(0),
            500..530 => Operation::ReadVector(self.choose(&SIZES)),
            530..550 => Operation::ReadAll,
            550..610 => Operation::Poll,
            610..670 => Operation::Info,
            670..680 => Operation::InfoSmall,
            680..690 => Operation::InfoUnwritable,
            690..715 => Operation::DataSize,
            715..755 => Operation::Dirty(self.choose(&DIRTIES)),
            755..810 => Operation::Malformed(self.choose(&FEATURES), self.choose(&Malformation::ALL)),
            810..850 => Operation::UseOld,
            850..865 => Operation::PollOld,
            865..875 => Operation::CloseOld,
            875..975 => self.more(),
            975..982 => Operation::Close,
            982..987 => Operation::SetUnanswerable(self.target()),
            987..992 => Operation::OptIn,
            992..995 => Operation::EnterError,
            995..997 => Operation::Reopen,
            997..999 => Operation::Reset,
            _ => Operation::Write(Portion::Bytes(7)),
        }
    }

    /// What a VMM does seldom, and what goes on beside the migration.
    fn more(&mut self) -> Operation {
        match self.below(100) {
            0..10 => Operation::AgainstDirection,
            10..20 => Operation::Nonblocking(self.chance(1, 2)),
            20..32 => Operation::Duplicate,
            32..40 => Operation::UseOther,
            40..48 => Operation::CloseOther,
            48..57 => Operation::Reconfigure,
            57..65 => Operation::StartLog,
            65..80 => Operation::ReportLog,
            80..82 => Operation::StopLog,
            82..97 => {
                let direction =
                    self.choose(&[DmaDirection::ToMemory, DmaDirection::ToMemory, DmaDirection::FromMemory]);
                Operation::Dma(direction, self.below(PAGES as usize) as u32)
            }
            _ => Operation::Interrupt,
        }
    }

    /// In one call, or by a vector.
    fn write(&mut self, portion: Portion) -> Operation {
        match self.chance(1, 6) {
            true => Operation::WriteVector(portion),
            false => Operation::Write(portion),
        }
    }

    /// A write that is no whole stream.
    fn write_some(&mut self) -> Operation {
        let bytes = if self.chance(1, 10) { 0 } else { self.choose(&SIZES) };
        self.write(Portion::Bytes(bytes))
    }

    /// Most sessions are given a whole stream, so that the way out works.
    fn in_resuming(&mut self) -> Operation {
        match (self.loaded, self.below(100)) {
            (Loaded::Rubbish, 0..25) => Operation::Reset,
            (Loaded::Rubbish, 25..40) => Operation::Write(Portion::Rest),
            (Loaded::Rubbish, 40..55) => Operation::Set(self.way_on().number()),
            (Loaded::Nothing | Loaded::Part, 88..96) => Operation::Set(self.way_on().number()),
            (Loaded::Whole, 0..50) => Operation::Set(self.way_on().number()),
            (Loaded::Nothing | Loaded::Part, 0..50) => self.write(Portion::Rest),
            (Loaded::Nothing | Loaded::Part, 50..70) => self.write_some(),
            (_, 96..98) => Operation::WriteCorrupt(self.choose(&SIZES)),
            (_, 98) => self.write_some(),
            (Loaded::Whole, _) | (_, 99) => self.anywhere(),
            _ => match self.anywhere() {
                // An unfinished stream makes the way out fail, which costs a reset.
                Operation::Set(number) if State::from_number(number).is_some_and(|s| s != State::Error) => {
                    Operation::Poll
                }
                other => other,
            },
        }
    }

    fn target(&mut self) -> u32 {
        match self.below(100) {
            0..78 => self.way_on().number(),
            78..94 => State::ALL[self.below(State::ALL.len())].number(),
            _ => self.choose(&NO_STATES),
        }
    }

    /// A state that the device has. RESUMING is rarer, since leaving it takes a stream or a reset.
    fn way_on(&mut self) -> State {
        let at_hand = State::ALL.map(|state| (state, self.capabilities.has(state) && state != State::Error));
        loop {
            let (state, is_there) = at_hand[self.below(at_hand.len())];
            if is_there && (state != State::Resuming || self.chance(1, 4)) {
                return state;
            }
        }
    }

    /// Where a device goes that does everything right.
    fn follow(&mut self, operation: Operation) {
        match operation {
            Operation::Reset | Operation::Reopen => self.arrive(State::Running),
            Operation::EnterError => {
                if let Guess::At(state) = self.guess {
                    self.guess = Guess::Doomed(state);
                }
            }
            Operation::Set(number) => self.follow_set(number),
            Operation::SetUnanswerable(_) => {
                // A session of which nobody has the descriptor cannot be loaded.
                self.follow_set_unanswered();
            }
            // Nothing was given, and nothing is spoiled.
            Operation::Write(Portion::Bytes(0)) | Operation::WriteVector(Portion::Bytes(0)) => {}
            Operation::Write(Portion::Rest) | Operation::WriteVector(Portion::Rest) => {
                self.loaded = match self.loaded {
                    Loaded::Nothing | Loaded::Part => Loaded::Whole,
                    Loaded::Whole | Loaded::Rubbish => Loaded::Rubbish,
                }
            }
            Operation::Write(Portion::Bytes(_)) | Operation::WriteVector(Portion::Bytes(_)) => {
                self.loaded = match self.loaded {
                    Loaded::Nothing | Loaded::Part => Loaded::Part,
                    Loaded::Whole | Loaded::Rubbish => Loaded::Rubbish,
                }
            }
            Operation::WriteCorrupt(_) => self.loaded = Loaded::Rubbish,
            Operation::Close => self.loaded = Loaded::Rubbish,
            _ => {}
        }
    }

    fn follow_set(&mut self, number: u32) {
        let (Guess::At(from) | Guess::Doomed(from)) = self.guess else {
            return;
        };
        let Route::Path(path) = route(self.capabilities, from, number) else {
            return;
        };
        let fails = matches!(self.guess, Guess::Doomed(_)) || (from == State::Resuming && self.loaded != Loaded::Whole);
        match path.last() {
            Some(target) if !fails => self.arrive(*target),
            _ => self.guess = Guess::Stuck,
        }
    }

    fn follow_set_unanswered(&mut self) {
        self.guess = Guess::Stuck;
    }

    fn arrive(&mut self, state: State) {
        self.guess = Guess::At(state);
        self.loaded = Loaded::Nothing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::files::digest;

    #[test]
    fn a_seed_is_a_walk_for_ever() {
        let walk = |seed, segment| plan(Capabilities::FULL, seed, segment);
        assert_eq!(walk(7, 3), walk(7, 3));
        assert_ne!(walk(7, 3), walk(7, 4));
        assert_ne!(walk(7, 3), walk(8, 3));
        // People write seeds down, so the same seed must be the same walk in later versions.
        let begin: Vec<String> = walk(7, 0)[..12].iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(begin.join("\n"));
        let digests = Capabilities::ALL.map(|capabilities| {
            let walk: String =
                (0..20).flat_map(|segment| plan(capabilities, 7, segment)).map(|it| format!("{it}\n")).collect();
            format!("{capabilities}: {}", digest(walk.as_bytes()))
        });
        insta::assert_snapshot!("twenty_segments", digests.join("\n"));
    }

    #[test]
    fn every_kind_of_operation_comes_up() {
        let walk: Vec<Operation> = (0..40).flat_map(|segment| plan(Capabilities::FULL, 1, segment)).collect();
        let kinds: std::collections::HashSet<_> = walk.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 35);
        let resets = walk.iter().filter(|one| matches!(one, Operation::Reset | Operation::Reopen)).count();
        assert!(resets * 50 < walk.len(), "{resets} resets of {} steps take too long on hardware", walk.len());
        for state in State::ALL {
            assert!(walk.contains(&Operation::Set(state.number())), "{state}");
        }
    }
}
