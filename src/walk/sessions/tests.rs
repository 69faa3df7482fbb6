use super::*;
use crate::device::scripted::Scripted;
use crate::uapi::stream::Readiness;

const GOOD: [u8; 5] = [0x10; 5];
const READY: Readiness = Readiness { readable: true, writable: false, error: false, hang_up: false };
const NOT_READY: Readiness = Readiness { readable: false, ..READY };
const INITIAL: u64 = 100;

fn boxed(stream: &Scripted) -> Option<Box<dyn Stream>> {
    Some(Box::new(stream.clone()))
}

/// A session that has just begun in this state.
fn live(stream: &Scripted, state: State) -> Live {
    let mut sessions = Sessions::default();
    sessions.begin(boxed(stream), state);
    sessions.live.expect("it has begun")
}

/// The id of what is accused.
fn accused<T>(judged: Judged<T>) -> Option<&'static str> {
    judged.err().map(|violation| violation.requirement.id)
}

fn id(rule: Rule) -> Option<&'static str> {
    Some(rule.requirement().id)
}

#[test]
fn who_is_accused_of_a_session_that_lives_on_follows_from_what_ended_it() {
    let stream = Scripted::default().reads([Ok(1); 5]).writes([Ok(1)]);
    let mut sessions = Sessions::default();
    let mut buffer = [0; 8];
    let used = |sessions: &Sessions, buffer: &mut [u8]| accused(sessions.use_old(buffer));
    sessions.end(Some(&session::ENDED));
    assert_eq!(sessions.use_old(&mut buffer), Ok(Answer::Nothing), "there was none");
    assert!(sessions.old_stream().is_none());

    sessions.begin(boxed(&stream), State::StopCopy);
    assert_eq!(sessions.live.as_ref().map(|live| live.suspect.id), Some(session::FD_COMES.id));
    sessions.end(Some(&session::ENDED));
    assert!(sessions.live.is_none() && sessions.old_stream().is_some());
    assert_eq!(used(&sessions, &mut buffer), Some(session::ENDED.id));

    // The newest counts, and the one before it is to stay dead.
    sessions.begin(boxed(&stream), State::Resuming);
    assert_eq!(sessions.live.as_ref().map(|live| live.suspect.id), Some(session::NEW_WORKS.id));
    sessions.end(Some(&session::DEVICE_CLOSED));
    assert_eq!(used(&sessions, &mut buffer), Some(session::DEVICE_CLOSED.id));
    let blames: Vec<_> = sessions.old.iter().map(|old| old.blame.map(|blame| blame.id)).collect();
    assert_eq!(blames, [Some(session::STAYS_DEAD.id), Some(session::DEVICE_CLOSED.id)]);

    // Nobody knows what becomes of one that was in doubt.
    sessions.begin(boxed(&stream), State::StopCopy);
    sessions.doubt();
    sessions.end(Some(&session::ENDED));
    assert_eq!(sessions.use_old(&mut buffer), Ok(Answer::Moved(Ok(1))));
    assert_eq!(stream.asked(), ["read 8", "write [0]", "read 8"]);
}

#[test]
fn a_dead_session_is_no_violation() {
    let mut sessions = Sessions::default();
    sessions.begin(boxed(&Scripted::default().reads([Err(Errno::ENODEV)])), State::StopCopy);
    sessions.end(Some(&session::ENDED));
    assert_eq!(sessions.use_old(&mut [0; 8]), Ok(Answer::Moved(Err(Errno::ENODEV))));
}

#[test]
fn so_many_old_sessions_are_kept_and_each_is_closed_once() {
    let mut sessions = Sessions::default();
    for ended in 1..=OLD + 2 {
        sessions.begin(boxed(&Scripted::default()), State::StopCopy);
        sessions.end(None);
        assert_eq!(sessions.old.len(), ended.min(OLD));
    }
    for _ in 0..OLD {
        assert_eq!(sessions.close_old(), Answer::Done(true));
    }
    assert_eq!((sessions.close_old(), sessions.close()), (Answer::Nothing, Answer::Nothing));
    sessions.begin(boxed(&Scripted::default()), State::StopCopy);
    assert_eq!((sessions.close(), sessions.close()), (Answer::Done(true), Answer::Nothing));
    sessions.begin(None, State::StopCopy);
    assert!(sessions.live.as_ref().is_some_and(|live| !live.is_sure), "its data_fd never came");
    sessions.end(None);
    assert!(sessions.old.is_empty(), "there is nothing to close");
}

#[test]
fn what_must_not_harm_a_session_is_accused_of_its_death() {
    let mut sessions = Sessions::default();
    sessions.suspect(&fsm::SAME_STATE);
    sessions.begin(boxed(&Scripted::default().reads([Ok(4), Err(Errno::ENODEV)])), State::PreCopy);
    sessions.suspect(&fsm::SAME_STATE);
    let live = sessions.live.as_mut().expect("it has begun");
    assert_eq!(live.suspect.id, fsm::SAME_STATE.id);
    assert_eq!(live.read(&mut [0; 8], State::PreCopy), Ok(Answer::Moved(Ok(4))));
    assert_eq!(accused(live.read(&mut [0; 8], State::PreCopy)), Some(session::SAME_SESSION.id));
}

#[test]
fn what_a_read_may_answer_depends_on_the_state_and_on_what_was_promised() {
    use Errno::{EAGAIN, EIO, ENODEV, ENOMSG};
    let suspect = Some(session::FD_COMES.id);
    let (pre, stop) = (State::PreCopyP2p, State::StopCopy);
    for (state, has_ended, promised, answer, wrong) in [
        (stop, false, None, Ok(0), None),
        (stop, false, None, Ok(4), None),
        (stop, true, None, Ok(0), None),
        (stop, true, None, Ok(4), id(Rule::PermanentEnd)),
        (stop, false, None, Err(ENOMSG), id(Rule::NoTemporaryEnd)),
        (stop, true, None, Err(ENOMSG), id(Rule::NoTemporaryEnd)),
        (stop, false, None, Err(EAGAIN), None),
        (stop, false, None, Err(EIO), id(Rule::PermanentEnd)),
        (stop, true, None, Err(EIO), id(Rule::PermanentEnd)),
        (stop, true, None, Err(ENODEV), id(Rule::PermanentEnd)),
        (stop, false, None, Err(ENODEV), suspect),
        (pre, false, None, Ok(4), None),
        (pre, false, Some(8), Ok(4), None),
        (pre, false, None, Ok(0), id(Rule::TemporaryEnd)),
        (pre, false, None, Err(ENOMSG), None),
        (pre, false, Some(0), Err(ENOMSG), None),
        (pre, false, Some(1), Err(ENOMSG), id(Rule::Delivers)),
        (pre, false, Some(1), Err(EAGAIN), None),
        (pre, false, None, Err(EIO), id(Rule::TemporaryEnd)),
        (pre, false, None, Err(ENODEV), suspect),
    ] {
        // What is announced stays announced, however often it is asked for.
        let infos = [(Ok(0), 0, INITIAL, 0); LOOKS];
        let mut live = live(&Scripted::default().reads([answer]).infos(infos), state);
        live.flow = Flow::Saving(Saving { has_ended, promised, ..Saving::default() });
        let judged = live.read(&mut [0; 8], state);
        assert_eq!(accused(judged), wrong, "{state}, {has_ended}, {promised:?}: {answer:?}");
    }
}

#[test]
fn the_permanent_end_is_seen_once_and_a_promise_holds_for_one_read() {
    let stream = Scripted::default().reads([Ok(4), Ok(0), Ok(0), Ok(4)]);
    let mut ending = live(&stream, State::StopCopy);
    let mut read = || accused(ending.read(&mut [0; 8], State::StopCopy));
    assert_eq!([read(), read(), read(), read()], [None, None, None, id(Rule::PermanentEnd)]);

    let stream = Scripted::default().reads([Ok(4), Err(Errno::ENOMSG)]).infos([(Ok(0), 0, INITIAL, 0)]);
    let mut promising = live(&stream, State::PreCopy);
    assert!(promising.info(PrecopyInfoCall::default(), asking(State::PreCopy)).is_ok());
    assert_eq!(accused(promising.read(&mut [0; 8], State::PreCopy)), None);
    assert_eq!(accused(promising.read(&mut [0; 8], State::PreCopy)), None, "it may have been all");

    let stream = Scripted::default().reads([Err(Errno::ENOMSG); 2]).infos([(Ok(0), 0, INITIAL, 0); 2 + LOOKS]);
    let mut promising = live(&stream, State::PreCopy);
    assert!(promising.info(PrecopyInfoCall::default(), asking(State::PreCopy)).is_ok());
    promising.forget_promise();
    assert_eq!(accused(promising.read(&mut [0; 8], State::PreCopy)), None);
    assert!(promising.info(PrecopyInfoCall::default(), asking(State::PreCopy)).is_ok());
    assert_eq!(accused(promising.read(&mut [0; 8], State::PreCopy)), id(Rule::Delivers));
}

#[test]
fn estimates_that_were_a_moment_old_are_no_broken_promise() {
    let late = [(Ok(0), 0, INITIAL, 0), (Ok(0), 0, INITIAL, 0), (Ok(0), 0, 0, 0)];
    let stream = Scripted::default().reads([Err(Errno::ENOMSG)]).infos(late);
    let mut promising = live(&stream, State::PreCopy);
    assert!(promising.info(PrecopyInfoCall::default(), asking(State::PreCopy)).is_ok());
    assert_eq!(accused(promising.read(&mut [0; 8], State::PreCopy)), None);
}

#[test]
fn after_a_precopy_info_that_could_not_be_written_initial_bytes_is_open() {
    let opted = Asking { has_opted_in: true, ..asking(State::PreCopy) };
    let grown = |first: Result<i32, Errno>| {
        let stream = Scripted::default().infos([(Ok(0), 0, 1, 0), (first, 0, 1, 0), (Ok(0), 0, INITIAL, 0)]);
        let mut live = live(&stream, State::PreCopy);
        assert!(live.info(PrecopyInfoCall::default(), opted).is_ok());
        let placement = if first.is_err() { Placement::ReadOnly } else { Placement::Ordinary };
        assert_eq!(accused(live.info(PrecopyInfoCall { placement, ..PrecopyInfoCall::default() }, opted)), None);
        accused(live.info(PrecopyInfoCall::default(), opted))
    };
    assert_eq!(grown(Err(Errno::EFAULT)), None);
    assert_eq!(grown(Ok(0)), id(Rule::InitialNeverGrows));
}

#[test]
fn a_session_in_doubt_is_not_judged() {
    let stream = Scripted::default()
        .reads([Err(Errno::ENODEV)])
        .polls([Ok(NOT_READY)])
        .infos([(Err(Errno::ENODEV), 0, 0, 0)])
        .writes([Err(Errno::ENODEV)]);
    let mut saving = live(&stream, State::StopCopy);
    saving.is_sure = false;
    saving.flow = Flow::Saving(Saving { has_ended: true, ..Saving::default() });
    let gone = Err(Errno::ENODEV);
    assert_eq!(saving.read(&mut [0; 8], State::StopCopy), Ok(Answer::Moved(gone)));
    assert_eq!(saving.poll(State::StopCopy), Ok(Answer::Ready(Ok(NOT_READY))));
    let asked = saving.info(PrecopyInfoCall::default(), asking(State::PreCopy));
    assert_eq!(asked, Ok(Answer::Returned(Err(Errno::ENODEV))));
    let mut resuming = live(&stream, State::Resuming);
    resuming.is_sure = false;
    assert_eq!(resuming.write_by(Call::Plain, &GOOD, usize::MAX, State::Resuming), Ok(Answer::Moved(gone)));
    assert!(matches!(resuming.flow, Flow::Resuming(Resuming { spoiled: Spoiled::Failed, .. })));
    assert_eq!(stream.left(), 0);
}

#[test]
fn without_a_data_fd_or_in_the_other_direction_there_is_nothing_to_do() {
    let mut closed = live(&Scripted::default(), State::StopCopy);
    closed.stream = None;
    let mut buffer = [0; 8];
    assert_eq!(closed.read(&mut buffer, State::StopCopy), Ok(Answer::Nothing));
    assert_eq!(closed.read_all(&mut buffer, State::StopCopy, 9), Ok(Answer::Nothing));
    assert_eq!(closed.poll(State::StopCopy), Ok(Answer::Nothing));
    assert_eq!(closed.info(PrecopyInfoCall::default(), asking(State::PreCopy)), Ok(Answer::Nothing));
    assert_eq!(closed.against_direction(&mut buffer), Answer::Nothing);
    let mut saving = live(&Scripted::default(), State::StopCopy);
    assert_eq!(saving.write_by(Call::Plain, &GOOD, 1, State::StopCopy), Ok(Answer::Nothing));
    assert_eq!(saving.write_corrupt(&GOOD, 1), Answer::Nothing);
    let mut resuming = live(&Scripted::default(), State::Resuming);
    assert_eq!(resuming.read(&mut buffer, State::Resuming), Ok(Answer::Nothing));
}

#[test]
fn a_read_of_nothing_answers_0_or_before_stop_copy_that_there_is_nothing() {
    use Errno::{EAGAIN, EIO, ENODEV, ENOMSG};
    let (suspect, wrong) = (Some(session::FD_COMES.id), id(Rule::EmptyRead));
    let (pre, stop) = (State::PreCopy, State::StopCopy);
    for (state, answer, accuses) in [
        (stop, Ok(0), None),
        (stop, Ok(1), wrong),
        (stop, Err(ENOMSG), wrong),
        (stop, Err(EAGAIN), wrong),
        (stop, Err(ENODEV), suspect),
        (pre, Ok(0), None),
        (pre, Err(ENOMSG), None),
        (pre, Err(EAGAIN), None),
        (pre, Err(EIO), wrong),
        (pre, Err(ENODEV), suspect),
    ] {
        let mut live = live(&Scripted::default().reads([answer]), state);
        assert_eq!(accused(live.read(&mut [], state)), accuses, "{state}: {answer:?}");
        let blamed_next = if accuses.is_none() { wrong } else { suspect };
        assert_eq!(Some(live.suspect.id), blamed_next, "{state}: {answer:?}");
    }
}

#[test]
fn a_write_of_nothing_answers_0_as_long_as_all_before_was_good() {
    use Errno::{EBADF, EINVAL, ENODEV};
    let (suspect, wrong) = (Some(session::FD_COMES.id), id(Rule::EmptyWrite));
    for (spoiled, is_sure, answer, accuses) in [
        (Spoiled::No, true, Ok(0), None),
        (Spoiled::No, true, Ok(1), wrong),
        (Spoiled::No, true, Err(EINVAL), wrong),
        (Spoiled::No, true, Err(ENODEV), suspect),
        (Spoiled::No, true, Err(EBADF), suspect),
        (Spoiled::Taken, true, Err(EINVAL), None),
        (Spoiled::No, false, Err(ENODEV), None),
    ] {
        let mut live = live(&Scripted::default().writes([answer]), State::Resuming);
        live.is_sure = is_sure;
        live.flow = Flow::Resuming(Resuming { spoiled, ..Resuming::default() });
        let judged = live.write_by(Call::Plain, &GOOD, 0, State::Resuming);
        assert_eq!(accused(judged), accuses, "{spoiled:?}, {is_sure}: {answer:?}");
    }
    let mut saving = live(&Scripted::default(), State::StopCopy);
    assert_eq!(saving.write_by(Call::Plain, &GOOD, 0, State::StopCopy), Ok(Answer::Nothing));
}

#[test]
fn a_read_into_several_buffers_is_judged_as_one() {
    use Errno::{EAGAIN, EINVAL, ENODEV, ENOMSG};
    for (answer, accuses) in [
        (Ok(4), None),
        (Err(ENOMSG), None),
        (Err(EAGAIN), None),
        (Err(ENODEV), Some(session::FD_COMES.id)),
        (Err(EINVAL), id(Rule::AnyRead)),
    ] {
        let stream = Scripted::default().reads([answer]);
        let judged = live(&stream, State::PreCopy).read_by(Call::Vector, &mut [0; 10], State::PreCopy);
        let asked = judged.as_ref().err().map(|violation| violation.asked.clone());
        assert_eq!(asked, accuses.map(|_| "readv 10 in PRE_COPY".to_owned()));
        assert_eq!(accused(judged), accuses, "{answer:?}");
        assert_eq!(stream.asked(), ["readv [4, 4, 2]"]);
    }
}

#[test]
fn a_session_without_a_data_fd_is_out_of_reach() {
    let mut sessions = Sessions::default();
    assert!(!sessions.is_out_of_reach(), "there is none");
    sessions.begin(boxed(&Scripted::default()), State::StopCopy);
    assert!(!sessions.is_out_of_reach());
    sessions.close();
    assert!(sessions.is_out_of_reach());
}

#[test]
fn a_stream_is_read_to_its_end_or_to_the_limit() {
    let read = |answers: &[Result<usize, Errno>], limit| {
        let stream = Scripted::default().reads(answers.iter().copied());
        let drained = live(&stream, State::StopCopy).read_all(&mut [0; 8], State::StopCopy, limit);
        (drained, stream.left())
    };
    assert_eq!(read(&[Ok(4), Ok(3), Ok(0)], 9), (Ok(Answer::Drained(7, Ok(0))), 0));
    assert_eq!(read(&[Ok(4), Ok(4), Ok(0)], 4), (Ok(Answer::Drained(4, Ok(4))), 1));
    assert_eq!(read(&[Ok(4), Err(Errno::EAGAIN)], 9), (Ok(Answer::Drained(4, Err(Errno::EAGAIN))), 0));
    assert_eq!(accused(read(&[Ok(4), Err(Errno::EIO)], 9).0), id(Rule::PermanentEnd));
}

#[test]
fn at_the_permanent_end_poll_says_readable() {
    for (has_ended, ready, wrong) in
        [(false, NOT_READY, None), (false, READY, None), (true, READY, None), (true, NOT_READY, id(Rule::EndReadable))]
    {
        let stream = Scripted::default().polls([Ok(ready)]);
        let mut live = live(&stream, State::StopCopy);
        live.flow = Flow::Saving(Saving { has_ended, ..Saving::default() });
        assert_eq!(accused(live.poll(State::StopCopy)), wrong);
        assert_eq!(stream.asked(), ["poll Read"]);
    }
    let stream = Scripted::default().polls([Ok(NOT_READY)]);
    assert_eq!(live(&stream, State::Resuming).poll(State::Resuming), Ok(Answer::Ready(Ok(NOT_READY))));
    assert_eq!(stream.asked(), ["poll Write"]);
}

#[test]
fn a_good_stream_is_written_on_from_where_the_last_write_ended() {
    let stream = Scripted::default().writes([Ok(2), Ok(1), Ok(1), Ok(1)]);
    let mut live = live(&stream, State::Resuming);
    let good = [1, 2, 3, 4, 5];
    assert_eq!(live.write_by(Call::Plain, &good, 3, State::Resuming), Ok(Answer::Moved(Ok(3))));
    assert_eq!(live.suspect.id, fsm::REFUSAL_KEEPS_SESSION.id);
    assert!(!live.is_loaded(&good));
    assert_eq!(live.write_by(Call::Plain, &good, usize::MAX, State::Resuming), Ok(Answer::Moved(Ok(2))));
    assert!(live.is_loaded(&good));
    assert_eq!(stream.asked(), ["write [1, 2, 3]", "write [3]", "write [4, 5]", "write [5]"]);
    assert_eq!(live.write_by(Call::Plain, &good, usize::MAX, State::Resuming), Ok(Answer::Nothing), "that was all");
}

#[test]
fn a_good_stream_must_be_taken() {
    use Errno::{EBADF, EINVAL, ENODEV};
    let suspect = Some(session::FD_COMES.id);
    for (answers, wrong) in [
        (&[Ok(0)][..], id(Rule::Segmentation)),
        (&[Ok(6)], id(Rule::Segmentation)),
        (&[Ok(2), Ok(4)], id(Rule::Segmentation)),
        (&[Ok(2), Ok(3)], None),
        (&[Err(EINVAL)], id(Rule::Segmentation)),
        (&[Err(ENODEV)], suspect),
        (&[Err(EBADF)], suspect),
    ] {
        let mut live = live(&Scripted::default().writes(answers.iter().copied()), State::Resuming);
        assert_eq!(accused(live.write_by(Call::Plain, &GOOD, usize::MAX, State::Resuming)), wrong, "{answers:?}");
    }
    // Once it was given something else, it may refuse.
    let stream = Scripted::default().writes([Ok(2), Err(EINVAL)]);
    let mut live = live(&stream, State::Resuming);
    live.write_corrupt(&GOOD, 2);
    assert_eq!(live.write_by(Call::Plain, &GOOD, usize::MAX, State::Resuming), Ok(Answer::Moved(Err(EINVAL))));
    assert!(matches!(live.flow, Flow::Resuming(Resuming { spoiled: Spoiled::Failed, .. })));
}

#[test]
fn what_is_written_corrupt_differs_in_one_bit() {
    let stream = Scripted::default().writes([Ok(2), Ok(3)]);
    let mut live = live(&stream, State::Resuming);
    let good = [0x10, 0x10, 0x10, 0, 0x10];
    assert_eq!(live.write_corrupt(&good, 2), Answer::Moved(Ok(2)));
    assert_eq!(live.write_corrupt(&good, 9), Answer::Moved(Ok(3)));
    assert_eq!(live.write_corrupt(&good, 9), Answer::Nothing, "there is nothing left");
    assert_eq!(stream.asked(), ["write [16, 0]", "write [16, 16, 16]"]);
    assert!(!live.is_loaded(&good));
}

#[test]
fn only_a_whole_good_stream_is_a_load() {
    let resuming = |written, spoiled| {
        let mut live = live(&Scripted::default(), State::Resuming);
        live.flow = Flow::Resuming(Resuming { written, spoiled, has_trailing: false });
        live
    };
    assert!(resuming(5, Spoiled::No).is_loaded(&GOOD));
    assert!(!resuming(4, Spoiled::No).is_loaded(&GOOD) && !resuming(5, Spoiled::Taken).is_loaded(&GOOD));
    assert!(!resuming(0, Spoiled::No).is_loaded(&[]), "nobody knows a good one");
    assert!(!live(&Scripted::default(), State::StopCopy).is_loaded(&GOOD));
}

#[test]
fn what_is_wrong_with_a_load_is_known_as_far_as_it_can_be() {
    let found =
        |written, spoiled, has_trailing, good: &[u8]| Resuming { written, spoiled, has_trailing }.corruption(good);
    assert_eq!(found(5, Spoiled::No, false, &GOOD), None);
    assert_eq!(found(0, Spoiled::No, false, &GOOD), Some(Corruption::Empty));
    assert_eq!(found(4, Spoiled::No, false, &GOOD), Some(Corruption::Truncated));
    assert_eq!(found(0, Spoiled::No, false, &[]), None);
    assert_eq!(found(4, Spoiled::No, false, &[]), None);
    assert_eq!(found(5, Spoiled::Taken, true, &GOOD), Some(Corruption::Trailing));
    assert_eq!(found(5, Spoiled::Taken, false, &GOOD), None);
    assert_eq!(found(5, Spoiled::Failed, true, &GOOD), None);
}

#[test]
fn what_is_written_behind_a_good_stream_is_little_and_makes_it_a_bad_one() {
    let behind = |mut resuming: Resuming, good: &[u8], most| {
        let stream = Scripted::default().writes([Ok(1)]);
        resuming.write_behind(&stream, good, most);
        let asked = stream.asked().pop().map_or(0, |asked| asked.matches('0').count());
        (asked, resuming.has_trailing, resuming.spoiled)
    };
    let whole = || Resuming { written: 5, ..Resuming::default() };
    assert_eq!(behind(whole(), &GOOD, 3), (3, true, Spoiled::Taken));
    assert_eq!(behind(whole(), &GOOD, 5000), (TRAILING, true, Spoiled::Taken));
    assert_eq!(behind(whole(), &GOOD, usize::MAX), (0, false, Spoiled::No), "all that is left of it is nothing");
    assert_eq!(behind(whole(), &[], 3), (0, false, Spoiled::No), "nobody knows where its end is");
    let spoiled = Resuming { spoiled: Spoiled::Taken, ..whole() };
    assert_eq!(behind(spoiled, &GOOD, 3), (3, false, Spoiled::Taken), "it was none before");
}

#[test]
fn the_worst_of_what_a_load_was_given_counts() {
    use Spoiled::{Failed, No, Taken};
    let worst = [No, Taken, Failed].map(|one| [No, Taken, Failed].map(|other| one.max(other)));
    assert_eq!(worst, [[No, Taken, Failed], [Taken, Taken, Failed], [Failed, Failed, Failed]]);
}

#[test]
fn what_is_used_against_its_direction_is_the_other_call() {
    let stream = Scripted::default().reads([Ok(1)]).writes([Err(Errno::EBADF)]);
    let mut buffer = [7; 8];
    let refused = live(&stream, State::PreCopy).against_direction(&mut buffer);
    assert_eq!(refused, Answer::Moved(Err(Errno::EBADF)));
    assert_eq!(live(&stream, State::Resuming).against_direction(&mut buffer), Answer::Moved(Ok(1)));
    assert_eq!(stream.asked(), ["write [7]", "read 1"]);
}

fn asking(state: State) -> Asking {
    Asking { state, has_pre_copy: true, has_opted_in: false }
}

#[test]
fn precopy_info_works_in_pre_copy_and_is_refused_elsewhere() {
    use Errno::{EFAULT, EINVAL, EIO, ENODEV, ENOTTY};
    let ordinary = PrecopyInfoCall::default;
    let small = || PrecopyInfoCall { argsz: ordinary().argsz - 1, ..ordinary() };
    let large = || PrecopyInfoCall { argsz: ordinary().argsz + 1, ..ordinary() };
    let unwritable = || PrecopyInfoCall { placement: Placement::ReadOnly, ..ordinary() };
    let (suspect, works) = (Some(session::FD_COMES.id), id(Rule::InfoWorks));
    let (elsewhere, argsz, memory) = (id(Rule::InfoElsewhere), id(Rule::InfoArgsz), id(Rule::InfoMemory));
    let (pre, stop, resuming) = (State::PreCopy, State::StopCopy, State::Resuming);
    for (state, call, answer, wrong) in [
        (pre, ordinary(), Ok(0), None),
        (State::PreCopyP2p, large(), Ok(0), None),
        (pre, ordinary(), Ok(1), works),
        (pre, ordinary(), Err(EIO), works),
        (pre, ordinary(), Err(ENODEV), suspect),
        (pre, small(), Err(EINVAL), None),
        (pre, small(), Ok(0), argsz),
        (pre, small(), Err(EIO), argsz),
        (stop, small(), Ok(0), elsewhere),
        (stop, small(), Err(EIO), None),
        (pre, unwritable(), Err(EFAULT), None),
        (pre, unwritable(), Err(EINVAL), memory),
        (pre, unwritable(), Ok(0), memory),
        (stop, ordinary(), Err(EINVAL), None),
        (stop, ordinary(), Err(ENOTTY), None),
        (stop, ordinary(), Ok(0), elsewhere),
        (stop, ordinary(), Err(ENODEV), None),
        (resuming, ordinary(), Err(ENOTTY), None),
        (resuming, ordinary(), Err(ENODEV), None),
        (resuming, ordinary(), Ok(0), elsewhere),
    ] {
        let mut live = live(&Scripted::default().infos([(answer, 0, INITIAL, 0)]), state);
        assert_eq!(accused(live.info(call, asking(state))), wrong, "{state}: {call:?}: {answer:?}");
    }
    let without = Asking { has_pre_copy: false, ..asking(pre) };
    for (answer, wrong) in [(Err(ENOTTY), None), (Err(ENODEV), None), (Ok(0), elsewhere)] {
        let mut live = live(&Scripted::default().infos([(answer, 0, INITIAL, 0)]), State::StopCopy);
        assert_eq!(accused(live.info(ordinary(), without)), wrong, "{answer:?}");
    }
}

#[test]
fn what_precopy_info_says_is_held_against_what_it_said_before() {
    let opted = Asking { has_opted_in: true, ..asking(State::PreCopy) };
    let (strange, grows) = (id(Rule::InfoFlags), id(Rule::InitialNeverGrows));
    for (asking, answers, wrong) in [
        (asking(State::PreCopy), [(0, INITIAL), (0, INITIAL)], None),
        (asking(State::PreCopy), [(0, INITIAL), (0, INITIAL - 1)], None),
        (asking(State::PreCopy), [(0, INITIAL), (0, 0)], None),
        (asking(State::PreCopy), [(0, INITIAL), (0, INITIAL + 1)], grows),
        (asking(State::PreCopy), [(0, INITIAL), (PRECOPY_INFO_REINIT, INITIAL + 1)], grows),
        (asking(State::PreCopy), [(0, INITIAL), (0x60, INITIAL)], None),
        (opted, [(0, INITIAL), (0, INITIAL + 1)], grows),
        (opted, [(0, INITIAL), (PRECOPY_INFO_REINIT, INITIAL + 1)], None),
        (opted, [(0, INITIAL), (PRECOPY_INFO_REINIT | 0x20, INITIAL)], strange),
        (opted, [(0, INITIAL), (0x20, INITIAL)], strange),
    ] {
        let stream = Scripted::default().infos(answers.map(|(flags, initial)| (Ok(0), flags, initial, 0)));
        let mut live = live(&stream, State::PreCopy);
        assert_eq!(
            live.info(PrecopyInfoCall::default(), asking),
            Ok(Answer::Estimates(Ok((INITIAL, 0)))),
            "the first time"
        );
        assert_eq!(live.suspect.id, session::SAME_SESSION.id);
        assert_eq!(accused(live.info(PrecopyInfoCall::default(), asking)), wrong, "{answers:?}");
    }
}

#[test]
fn initial_bytes_are_above_zero_until_something_was_read() {
    let stream = || Scripted::default().infos([(Ok(0), 0, 0, 4)]).reads([Ok(4)]);
    let mut fresh = live(&stream(), State::PreCopy);
    assert_eq!(accused(fresh.info(PrecopyInfoCall::default(), asking(State::PreCopy))), id(Rule::InitialAtFirst));
    let mut begun = live(&stream(), State::PreCopy);
    assert!(begun.read(&mut [0; 8], State::PreCopy).is_ok());
    assert_eq!(accused(begun.info(PrecopyInfoCall::default(), asking(State::PreCopy))), None);
}
