use super::*;
use crate::device::model::{Fault, ModelDevice, ModelSpec};
use crate::device::scripted::Scripted;
use crate::harness::bench::Host;
use crate::harness::record::Recorder;

/// Longer than any of these tests should wait for what comes at once.
const LONG: Duration = Duration::from_secs(20);
/// A wait that is in vain.
const SHORT: Duration = Duration::from_millis(10);

const READABLE: Readiness = Readiness { readable: true, writable: false, error: false, hang_up: false };
const NOT_READY: Readiness = Readiness { readable: false, ..READABLE };

/// What it came to, and whether that was at once.
fn at_once<T>(act: impl FnOnce() -> T) -> (T, bool) {
    let began = Instant::now();
    let came = act();
    (came, began.elapsed() < WAITS_WITHIN)
}

fn bench_of(spec: ModelSpec, patience: Duration) -> Bench {
    let host = Host { patience, ..Host::NEWEST };
    Bench::new(Box::new(ModelDevice::new(spec)), host, Err("not asked for".to_owned()), Recorder::new(None))
}

/// What the user of this device comes to in a race of so many rounds that he sleeps in one of them.
fn raced(spec: ModelSpec, patience: Duration) -> Raced {
    let mut bench = bench_of(spec, patience);
    let session = bench.bring_to_temporary_end(State::PreCopy).expect("a session at its temporary end");
    bench.race_with_poller(&session, 1000).expect("a race")
}

#[test]
fn a_race_tells_a_lost_wakeup_from_a_change_that_brings_no_data() {
    // A race is over after a while, on a machine that does much else after fewer rounds.
    assert!(matches!(raced(ModelSpec::default(), LONG), Raced::AllSeen(1..)));
    assert!(matches!(raced(ModelSpec::faulty(Fault::PollerNotWoken), SHORT * 10), Raced::Lost(_)));
    assert_eq!(raced(ModelSpec::faulty(Fault::ChangesWaitForStopCopy), SHORT), Raced::Unstreamed(0));
}

#[test]
fn a_race_has_as_many_rounds_as_there_is_time_for() {
    let poller = RacingPoller::default();
    let bounds = |rounds, patience| RaceBounds { rounds, limit: SHORT * 2, patience };
    let race_within = |bounds, change: &dyn Fn() -> Result<(), Errno>| race(&poller, bounds, change);
    let race = |rounds, patience, change| race_within(bounds(rounds, patience), change);
    let see = || {
        poller.reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    assert_eq!(race(3, LONG, &see), Ok(Raced::AllSeen(3)));
    let see_slowly = || {
        thread::sleep(SHORT);
        see()
    };
    assert!(matches!(race(9, LONG, &see_slowly), Ok(Raced::AllSeen(1..=3))));
    let all_of_them = RaceBounds { limit: Duration::MAX, ..bounds(9, LONG) };
    assert_eq!(race_within(all_of_them, &see_slowly), Ok(Raced::AllSeen(9)));
    assert_eq!(race(3, SHORT, &|| Ok(())), Ok(Raced::Lost(0)));
    assert_eq!(race(3, LONG, &|| Err(Errno::EIO)), Err(Errno::EIO));
    poller.stopped.set("the end".to_owned()).expect("not yet stopped");
    assert_eq!(race(3, LONG, &|| Ok(())), Ok(Raced::Stopped("the end".to_owned())));
}

#[test]
fn the_user_in_a_race_reads_what_there_is_and_says_why_not_more() {
    let run = |stream: &Scripted, poller: &RacingPoller| {
        poller.run(stream);
        (poller.reads(), poller.stopped.get().cloned().unwrap_or_default(), stream.left())
    };
    let (fresh, stream) = (RacingPoller::default, Scripted::default);
    let two = [Ok(4096), Ok(1), Err(Errno::ENOMSG)];
    let failing = stream().reads(two).polls([Ok(READABLE), Err(Errno::EIO)]);
    assert_eq!(run(&failing, &fresh()), (2, "poll answered EIO".to_owned(), 0));
    let ending = stream().reads([Ok(1), Ok(0)]).polls([Ok(READABLE), Err(Errno::EIO)]);
    assert_eq!(run(&ending, &fresh()), (1, "poll answered EIO".to_owned(), 0), "0 is a temporary end too");
    let dying = stream().reads([Ok(1), Err(Errno::ENODEV)]).polls([Ok(READABLE)]);
    assert_eq!(run(&dying, &fresh()), (1, "read answered ENODEV".to_owned(), 0));
    assert_eq!(run(&stream().polls([Ok(NOT_READY)]), &fresh()), (0, "poll came back without an answer".to_owned(), 0));
    let told = RacingPoller { stop: AtomicBool::new(true), ..fresh() };
    assert_eq!(run(&stream().reads(two).polls([Ok(READABLE)]), &told), (0, String::new(), 4), "it went home");
}

#[test]
fn who_watches_the_user_in_a_race_is_woken() {
    let poller = RacingPoller::default();
    poller.watcher.set(thread::current()).expect("nobody else");
    poller.tell();
    assert_eq!(at_once(|| thread::park_timeout(LONG)), ((), true));
}

#[test]
fn reads_are_waited_for_as_long_as_there_is_hope() {
    let poller = Arc::new(RacingPoller { reads: AtomicUsize::new(1), ..RacingPoller::default() });
    assert!(poller.reads_more_than(0, Duration::ZERO));
    let began = Instant::now();
    assert!(!poller.reads_more_than(1, SHORT));
    assert!(began.elapsed() >= SHORT);
    let later = Arc::clone(&poller);
    let reader = thread::spawn(move || {
        thread::sleep(SHORT);
        later.reads.fetch_add(1, Ordering::Relaxed);
    });
    assert!(poller.reads_more_than(1, LONG));
    reader.join().expect("no panic");
    poller.stopped.set("the end".to_owned()).expect("not yet stopped");
    assert_eq!(at_once(|| poller.reads_more_than(2, LONG)), (false, true));
}

#[test]
fn what_is_waited_for_is_looked_at_until_it_has_come_and_no_longer() {
    let mut looks = 0;
    until(WAITS_WITHIN, || {
        looks += 1;
        looks == 3
    });
    assert_eq!(looks, 3);
    let began = Instant::now();
    until(WAITS_WITHIN, || false);
    assert!(began.elapsed() >= WAITS_WITHIN);
}

#[test]
fn what_is_done_amid_turns_comes_after_the_first_and_before_the_last() {
    let over = AtomicUsize::new(0);
    let turn = |number: usize| {
        thread::sleep(SHORT);
        assert_eq!(over.swap(number + 1, Ordering::Relaxed), number, "one after the other");
    };
    let seen = amid(20, turn, || over.load(Ordering::Relaxed));
    assert!((1..20).contains(&seen), "{seen} turns were over");
    assert_eq!(over.into_inner(), 20);
}

#[test]
fn resets_amid_transitions_answer_as_the_worst_of_them() {
    assert_eq!(bench_of(ModelSpec::default(), LONG).reset_during_transitions(3), Ok(0));
    let mut bench = bench_of(ModelSpec::faulty(Fault::TouchedWhileStoppedWedges), LONG);
    bench.bring_to(State::Stop).expect("it can be stopped");
    bench.stimulate(Stimulus::Dirty(1)).expect("it changes");
    assert_eq!(bench.reset_during_transitions(2), Err(Errno::EIO));
}

#[test]
fn a_reader_goes_on_until_the_session_is_over_or_it_is_told_to_stop() {
    let read = |stop: bool| {
        let errors = [Errno::ENOMSG, Errno::EAGAIN, Errno::EINTR, Errno::ENODEV].map(Err);
        let stream = Scripted::default().reads([Ok(4), Ok(0)]).reads(errors);
        let calls = AtomicU32::new(0);
        let told = read_on(&stream, &calls, &AtomicBool::new(stop));
        (told, calls.into_inner())
    };
    assert_eq!(read(false), ("ENODEV".to_owned(), 6));
    assert_eq!(read(true), ("4 bytes".to_owned(), 1));
}

/// A thread that does nothing, or too much, until the answer is dropped.
fn thread_that(sleeps: bool) -> (Thread, Arc<AtomicBool>) {
    let (tell, told) = sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&stop);
    thread::spawn(move || {
        tell.send(Thread::current()).expect("somebody listens");
        while !is_over.load(Ordering::Relaxed) {
            if sleeps {
                thread::sleep(LONG);
            }
        }
    });
    (told.recv().expect("it began"), stop)
}

fn waiter(thread: Option<Thread>, calls: u32) -> (Waiter, SyncSender<Said>) {
    let (tell, answers) = sync_channel(2);
    let calls = Arc::new(AtomicU32::new(calls));
    (Waiter { wait: Wait::Poll, thread, calls, stop: Arc::default(), answers }, tell)
}

#[test]
fn a_thread_waits_once_it_sleeps_or_has_called_before() {
    let waits = |thread, calls| waiter(thread, calls).0.waits();
    assert!(!waits(None, 0) && waits(None, 1) && waits(None, 2));
    let (busy, stop) = thread_that(false);
    assert!(!waits(Some(busy), 0) && waits(Some(busy), 1));
    stop.store(true, Ordering::Relaxed);
    let (sleeper, _) = thread_that(true);
    let (mut waiter, tell) = waiter(None, 0);
    tell.send(Said::Begins(sleeper)).expect("it listens");
    assert_eq!(at_once(|| waiter.until_it_waits()), (None, true));
    assert_eq!(waiter.thread, Some(sleeper));
}

#[test]
fn a_thread_that_does_not_wait_says_so_at_once() {
    let (mut waiter, tell) = waiter(None, 0);
    tell.send(Said::Ended("POLLIN".to_owned())).expect("it listens");
    assert_eq!(at_once(|| waiter.until_it_waits()), (Some("POLLIN".to_owned()), true));
}

#[test]
fn the_end_of_a_wait_is_waited_for_with_patience() {
    let (waiter, tell) = waiter(None, 0);
    assert_eq!(waiter.ends_by(Instant::now() + SHORT), WaitEnd::Never);
    assert!(waiter.stop.load(Ordering::Relaxed), "a reader is told to stop");
    let late = thread::spawn(move || {
        thread::sleep(SHORT);
        say(&tell, || "POLLIN".to_owned());
    });
    assert_eq!(waiter.ends_by(Instant::now() + LONG), WaitEnd::Woken("POLLIN".to_owned()));
    late.join().expect("no panic");
    assert_eq!(at_once(|| waiter.ends_by(Instant::now() + LONG)), (WaitEnd::Never, true), "nobody is left");
}

#[test]
fn a_word_comes_before_a_wait_and_one_after_it() {
    let (tell, answers) = sync_channel(2);
    say(&tell, || "POLLIN".to_owned());
    assert!(matches!(answers.try_recv(), Ok(Said::Begins(thread)) if thread == Thread::current()));
    assert!(matches!(answers.try_recv(), Ok(Said::Ended(answer)) if answer == "POLLIN"));
}

#[test]
fn each_way_to_wait_is_its_own() {
    for (wait, direction, asked) in [
        (Wait::Poll, Direction::Saving, &["poll Read"][..]),
        (Wait::Poll, Direction::Resuming, &["poll Write"]),
        (Wait::EpollLevel, Direction::Saving, &["epoll Level", "wait ()"]),
        (Wait::EpollEdge, Direction::Saving, &["epoll Edge", "wait ()"]),
    ] {
        let stream = Scripted::default().polls([Ok(READABLE)]);
        let session = Session::new(Box::new(stream.clone()), direction);
        let waiter = Waiter::begin(wait, &session).expect("a thread");
        assert_eq!(waiter.ends_by(Instant::now() + LONG), WaitEnd::Woken("POLLIN".to_owned()), "{wait}");
        assert_eq!(stream.asked(), asked, "{wait}");
    }
}

#[test]
fn waits_and_races_are_told_in_words() {
    let waits = [Wait::Poll, Wait::EpollLevel, Wait::EpollEdge, Wait::Read].map(|wait| wait.to_string());
    assert_eq!(waits, ["poll", "epoll_wait", "epoll_wait (edge)", "read"]);
    let ends = [WaitEnd::AtOnce("POLLIN".to_owned()), WaitEnd::Woken("POLLIN".to_owned()), WaitEnd::Never];
    assert_eq!(ends.map(|end| end.to_string()), ["POLLIN, at once", "POLLIN", "no answer"]);
    let races = [Raced::AllSeen(3), Raced::Lost(2), Raced::Unstreamed(1), Raced::Stopped("EIO".to_owned())];
    let words = ["3 changes, each seen", "change 3 woke nobody", "change 2 brought no data", "stopped: EIO"];
    assert_eq!(races.map(|raced| raced.to_string()), words);
}

#[test]
fn who_has_come_back_at_once_does_not_wait() {
    let (tell, answers) = sync_channel(2);
    thread::spawn(move || say(&tell, || "POLLIN".to_owned())).join().unwrap();
    let mut waiter = Waiter { wait: Wait::Poll, thread: None, calls: Arc::default(), stop: Arc::default(), answers };
    assert_eq!(waiter.until_it_waits().as_deref(), Some("POLLIN"));
}

#[test]
fn only_a_waiter_that_waited_and_was_never_woken_accuses() {
    let expect = |ends: &[WaitEnd]| {
        let waited: Vec<Waited> = ends.iter().map(|end| Waited { wait: Wait::Poll, end: end.clone() }).collect();
        let mut bench = bench_of(ModelSpec::default(), SHORT);
        (bench.expect_woken(&crate::requirement::fsm::ARC, "", &waited), bench.broken.len())
    };
    let (woken, at_once) = (WaitEnd::Woken("POLLIN".to_owned()), WaitEnd::AtOnce("POLLIN".to_owned()));
    assert!(matches!(expect(&[woken.clone(), woken.clone()]), (Ok(()), 0)));
    assert!(matches!(expect(&[woken.clone(), WaitEnd::Never]), (Err(Interruption::Broken), 1)));
    assert!(matches!(expect(&[at_once, WaitEnd::Never]), (Err(Interruption::Blocked { .. }), 0)));
}

#[test]
fn each_waiter_is_told_apart_by_when_it_came_back() {
    let mut bench = bench_of(ModelSpec::default(), LONG);
    let session = bench.bring_to_temporary_end(State::PreCopy).expect("a session at its temporary end");
    let waited = bench.while_waiting(&session, &[Wait::Poll], |bench| {
        bench.stimulate(Stimulus::Dirty(1))?;
        Ok(())
    });
    assert_eq!(waited.ok(), Some(vec![Waited { wait: Wait::Poll, end: WaitEnd::Woken("POLLIN".to_owned()) }]));
    let waited = bench.while_waiting(&session, &[Wait::Poll], |_| Ok(()));
    assert_eq!(waited.ok(), Some(vec![Waited { wait: Wait::Poll, end: WaitEnd::AtOnce("POLLIN".to_owned()) }]));
    let failed = bench.while_waiting(&session, &[], |_| Err(Interruption::Broken));
    assert!(matches!(failed, Err(Interruption::Broken)), "what the action answered");
    let mut impatient = bench_of(ModelSpec::default(), SHORT);
    let session = impatient.bring_to_temporary_end(State::PreCopy).expect("a session at its temporary end");
    let waited = impatient.while_waiting(&session, &[Wait::Poll], |_| Ok(()));
    assert_eq!(waited.ok(), Some(vec![Waited { wait: Wait::Poll, end: WaitEnd::Never }]));
}

#[test]
fn race_is_limited_unless_the_device_is_to_be_worn_out() {
    assert_eq!(race_limit(None), RACE_LIMIT);
    assert_eq!(race_limit(Some(1000)), Duration::MAX);
}
