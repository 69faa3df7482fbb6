//! DMA logging: start a log, have the device write, and look at the bits.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::harness::bench::{Bench, tell_return};
use crate::harness::check::{Check, Interruption, Judgement, Skip};
use crate::requirement::Requirement;
use crate::requirement::discover::{PROBE, REFUSAL_CHANGES_NOTHING};
use crate::requirement::dma_logging::*;
use crate::requirement::reset;
use crate::stimulus::{DmaDirection, Stimulus};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, Verb};
use crate::uapi::state::State;

use super::{lower, no_log, no_method};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where logs begin: not at 0, and far from what machines reserve.
const IOVA: u64 = 16 * MIB;
/// The device can write so much from there on.
const AREA_BYTES: usize = 64 << 10;
const AREA_PAGES: u64 = AREA_BYTES as u64 / PAGE;
/// One page of bitmap stands for so many pages.
const PAGES_OF_A_BITMAP_PAGE: u64 = 8 * PAGE;
/// As many ranges as fit into a page of memory.
const A_PAGE_OF_RANGES: u64 = 256;

const AREA: IovaRange = IovaRange { iova: IOVA, length: AREA_BYTES as u64 };

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        // First, since a log that does not end leaves nothing to judge for the others.
        Check::new("dma_logging::stop_ends", &[&STOP_ENDS], stop_ends),
        Check::new("dma_logging::start_no_ranges", &[&START_NO_RANGES, &REFUSAL_CHANGES_NOTHING], start_no_ranges),
        Check::new("dma_logging::start_bad_ranges", &[&START_BAD_RANGES, &REFUSAL_CHANGES_NOTHING], start_bad_ranges),
        Check::new(
            "dma_logging::start_bad_page_size",
            &[&START_PAGE_SIZE, &START_SELECTS, &REFUSAL_CHANGES_NOTHING],
            start_bad_page_size,
        ),
        Check::new("dma_logging::start_too_many", &[&START_TOO_MANY, &REFUSAL_CHANGES_NOTHING], start_too_many),
        Check::new("dma_logging::start_a_page_of_ranges", &[&START_MANY], start_a_page_of_ranges),
        Check::new("dma_logging::start_selects_page_size", &[&START_SELECTS], start_selects_page_size),
        Check::new("dma_logging::start_twice", &[&START_TWICE], start_twice),
        Check::new("dma_logging::stop_alone", &[&STOP_ALONE], stop_alone),
        Check::new("dma_logging::report_without_start", &[&REPORT_WITHOUT_START], report_without_start),
        Check::new("dma_logging::report_only_sets", &[&ONLY_SETS], report_only_sets),
        Check::new("dma_logging::report_forgets", &[&FORGETS], report_forgets),
        Check::new("dma_logging::report_sub_range", &[&SUB_RANGE, &BIT_OF_PAGE], report_sub_range),
        Check::new("dma_logging::report_across_bitmap_pages", &[&LARGE_BITMAP], report_across_bitmap_pages),
        Check::new("dma_logging::report_tail", &[&ANY_ALIGNMENT], report_tail),
        Check::new("dma_logging::report_unwritable", &[&UNWRITABLE, &FAILED_REPORT_RECOVERS], report_unwritable),
        Check::new("dma_logging::report_bad_arguments", &[&REPORT_BAD, &FAILED_REPORT_RECOVERS], report_bad_arguments),
        Check::new("dma_logging::report_finer_than_the_log", &[&ANY_PAGE_SIZE], report_finer_than_the_log),
        Check::new("dma_logging::reads", &[&READS], reads),
        Check::new("dma_logging::writes_in_pre_copy", &[&ANY_STATE], writes_in_pre_copy),
        Check::new("dma_logging::writes_that_are_waited_for", &[&ANY_STATE], writes_that_are_waited_for),
        Check::new("dma_logging::closed_with_a_log", &[&CLOSE_ENDS], closed_with_a_log),
        Check::new("dma_logging::across_reset", &[&ACROSS_RESET], across_reset),
    ];
    for (name, first, bytes) in [
        ("first_byte", 0, 1),
        ("last_byte", AREA_BYTES as u64 - 1, 1),
        ("page_boundary", 5 * PAGE - 1, 2),
        ("whole_page", 7 * PAGE, PAGE),
        ("run", 3 * PAGE + 100, 9 * PAGE),
    ] {
        let name = format!("dma_logging::report_{name}");
        checks.push(Check::new(name, &[&EXACT], move |bench| report_exact(bench, first, bytes)));
    }
    for misaligned_by in [8, 2048, 4088] {
        let name = format!("dma_logging::report_unaligned_by_{misaligned_by}");
        checks.push(Check::new(name, &[&ANY_ALIGNMENT], move |bench| report_unaligned(bench, misaligned_by)));
    }
    for (name, page_size) in
        [("4k", PAGE), ("64k", 16 * PAGE), ("2m", 2 * MIB), ("1g", GIB), ("2g", 2 * GIB), ("4g", 4 * GIB)]
    {
        let name = format!("dma_logging::report_in_pages_of_{name}");
        checks.push(Check::new(name, &[&ANY_PAGE_SIZE], move |bench| report_in_pages_of(bench, page_size)));
    }
    for state in State::ALL.into_iter().filter(|state| *state != State::Error) {
        let name = format!("dma_logging::works_in_{}", lower(state));
        checks.push(Check::new(name, &[&ANY_STATE], move |bench| works_in(bench, state)));
    }
    checks
}

fn start_no_ranges(bench: &mut Bench) -> Judgement {
    start_refused(bench, &START_NO_RANGES, "START without ranges", LoggingStart::new(PAGE, Vec::new()))
}

fn start_bad_ranges(bench: &mut Bench) -> Judgement {
    let range = |iova, length| IovaRange { iova, length };
    let beyond = u64::MAX - PAGE + 1;
    for (what, ranges) in [
        ("a range that begins within a page", vec![range(IOVA + 1, PAGE)]),
        ("a range that ends within a page", vec![range(IOVA, PAGE + 1)]),
        ("overlapping ranges", vec![range(IOVA, 4 * PAGE), range(IOVA + 3 * PAGE, PAGE)]),
        ("the same range twice", vec![AREA, AREA]),
        ("a range within another one", vec![range(IOVA, 8 * PAGE), range(IOVA + PAGE, PAGE)]),
        ("a range beyond the end of the address space", vec![range(beyond, 2 * PAGE)]),
        ("a good range, then a bad one", vec![AREA, range(beyond, 2 * PAGE)]),
    ] {
        start_refused(bench, &START_BAD_RANGES, &format!("START with {what}"), LoggingStart::new(PAGE, ranges))?;
    }
    Ok(())
}

fn start_bad_page_size(bench: &mut Bench) -> Judgement {
    for page_size in [0, 3 * PAGE, PAGE + 1, u64::MAX] {
        // A range that is aligned to all of these.
        let range = IovaRange { iova: 0, length: 3 * PAGE * (PAGE + 1) };
        page_size_is_a_hint(bench, LoggingStart::new(page_size, vec![range]))?;
    }
    Ok(())
}

/// START fails, and nothing has changed; or it selects a page size that the device can have.
fn page_size_is_a_hint(bench: &mut Bench, mut start: LoggingStart) -> Judgement {
    needs_logging(bench)?;
    require_start(bench)?;
    let asked = format!("START with the page size {:#x}", start.page_size);
    let answer = bench.dma_logging_start(&mut start);
    bench.judge(&START_PAGE_SIZE, answer.is_err(), &asked, "an error", tell_return(&answer))?;
    if answer.is_err() {
        return can_start_still(bench, &asked);
    }
    selects(bench, &asked, answer, start.page_size)?;
    stop(bench)
}

/// START has succeeded, and says which page size was selected.
fn selects(bench: &mut Bench, asked: &str, answer: Result<i32, Errno>, page_size: u64) -> Judgement {
    let kept = answer == Ok(0) && page_size.is_power_of_two();
    let actual = format!("{}, page size {page_size:#x}", tell_return(&answer));
    bench.judge(&START_SELECTS, kept, asked, "success (0), and a power of two", actual)
}

fn start_too_many(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    require_start(bench)?;
    for claimed in [0x10_0000, u32::MAX] {
        let mut start = LoggingStart::new(PAGE, vec![AREA]);
        start.claimed_ranges = Some(claimed);
        let answer = bench.dma_logging_start(&mut start);
        let asked = format!("START with {claimed:#x} ranges");
        bench.expect_errno(&START_TOO_MANY, &asked, answer, &[Errno::E2BIG])?;
        can_start_still(bench, &asked)?;
    }
    Ok(())
}

fn start_a_page_of_ranges(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    let pages = 2 * A_PAGE_OF_RANGES;
    bench.map_area(IOVA, (pages * PAGE) as usize)?;
    let ranges: Vec<IovaRange> = (0..A_PAGE_OF_RANGES).map(|n| page_range(2 * n, 1)).collect();
    let asked = format!("START with {A_PAGE_OF_RANGES} ranges");
    let mut start = LoggingStart::new(PAGE, ranges);
    let answer = bench.dma_logging_start(&mut start);
    bench.judge(&START_MANY, answer == Ok(0), &asked, "success (0)", tell_return(&answer))?;
    // The first, the last, and some between them.
    let written = [0, 2, 14, 254, 510];
    for page in written {
        write_pages(bench, page, 1)?;
    }
    let mut report = LoggingReport::new(page_range(0, pages), PAGE);
    let written = written.map(|page| page_bytes(page, 1));
    reports(bench, &START_MANY, &asked, &mut report, &written, start.page_size)
}

fn start_selects_page_size(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    for page_size in [PAGE, 16 * PAGE, 2 * MIB] {
        let mut start = LoggingStart::new(page_size, vec![IovaRange { iova: IOVA, length: 2 * MIB }]);
        let answer = bench.dma_logging_start(&mut start);
        if let Err(errno) = answer {
            return Err(no_log(errno));
        }
        selects(bench, &format!("START with the page size {page_size:#x}"), answer, start.page_size)?;
        stop(bench)?;
    }
    Ok(())
}

fn start_twice(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    let mut second = LoggingStart::new(PAGE, vec![page_range(100, 1)]);
    let answer = bench.dma_logging_start(&mut second);
    let asked = "START while a log goes on";
    bench.judge(&START_TWICE, answer.is_err(), asked, "an error", tell_return(&answer))?;
    write_pages(bench, 3, 1)?;
    let mut report = LoggingReport::new(AREA, PAGE);
    reports(bench, &START_TWICE, asked, &mut report, &[page_bytes(3, 1)], granule)
}

fn stop_ends(bench: &mut Bench) -> Judgement {
    log_area(bench)?;
    write_pages(bench, 3, 1)?;
    stop(bench)?;
    let answer = bench.dma_logging_report(&mut LoggingReport::new(AREA, PAGE));
    bench.judge(&STOP_ENDS, answer.is_err(), "REPORT after STOP", "an error", tell_return(&answer))?;
    let mut again = LoggingStart::new(PAGE, vec![AREA]);
    let answer = bench.dma_logging_start(&mut again);
    bench.judge(&STOP_ENDS, answer == Ok(0), "START after STOP", "success (0)", tell_return(&answer))?;
    let asked = "START a log after one that was stopped before its report";
    reports(bench, &STOP_ENDS, asked, &mut LoggingReport::new(AREA, PAGE), &[], again.page_size)
}

fn stop_alone(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    let answer = bench.dma_logging_stop();
    bench.judge(&STOP_ALONE, answer == Ok(0), "STOP without START", "success (0)", tell_return(&answer))
}

fn report_without_start(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    let answer = bench.dma_logging_report(&mut LoggingReport::new(AREA, PAGE));
    bench.judge(&REPORT_WITHOUT_START, answer.is_err(), "REPORT without START", "an error", tell_return(&answer))
}

fn report_only_sets(bench: &mut Bench) -> Judgement {
    log_area(bench)?;
    write_pages(bench, 3, 1)?;
    let mut report = LoggingReport::new(AREA, PAGE);
    // Some of the bits of the range, and some behind it.
    let before = 0xdead_0000_0000_a001;
    report.bitmap[0] = before;
    let answer = bench.dma_logging_report(&mut report);
    let kept = answer == Ok(0) && report.bitmap[0] & before == before;
    let actual = format!("{}, bitmap {:#x}", tell_return(&answer), report.bitmap[0]);
    bench.judge(&ONLY_SETS, kept, format!("REPORT into the bitmap {before:#x}"), "all these bits, and more", actual)
}

fn report_forgets(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    write_pages(bench, 3, 2)?;
    let mut report = LoggingReport::new(AREA, PAGE);
    reports(bench, &FORGETS, "write two pages", &mut report, &[page_bytes(3, 2)], granule)?;
    let asked = "write two pages, then REPORT twice";
    reports(bench, &FORGETS, asked, &mut LoggingReport::new(AREA, PAGE), &[], granule)?;
    write_pages(bench, 3, 1)?;
    let asked = "write a page again that was reported";
    reports(bench, &FORGETS, asked, &mut LoggingReport::new(AREA, PAGE), &[page_bytes(3, 1)], granule)
}

fn report_exact(bench: &mut Bench, first: u64, bytes: u64) -> Judgement {
    let granule = log_area(bench)?;
    write(bench, DmaDirection::ToMemory, IOVA + first, bytes)?;
    let last = first + (bytes - 1);
    let asked = format!("write bytes {first:#x} to {last:#x} of a log of {AREA_PAGES} pages");
    let written = IOVA + first..=IOVA + last;
    reports(bench, &EXACT, &asked, &mut LoggingReport::new(AREA, PAGE), &[written], granule)
}

/// A part in the middle, then all of it: what is outside the part waits.
fn report_sub_range(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    if granule != PAGE {
        let why = format!("the device logs in pages of {granule:#x}, too coarse for parts of so small a log");
        return Err(no_method(&why));
    }
    write_pages(bench, 2, 8)?;
    let asked = "write pages 2 to 9, then ask for pages 3 to 7";
    let mut part = LoggingReport::new(page_range(3, 5), PAGE);
    reports(bench, &BIT_OF_PAGE, asked, &mut part, &[page_bytes(3, 5)], granule)?;
    let left = [page_bytes(2, 1), page_bytes(8, 2)];
    reports(bench, &SUB_RANGE, &format!("{asked}, then for all"), &mut LoggingReport::new(AREA, PAGE), &left, granule)?;
    write_pages(bench, 11, 1)?;
    let mut one = LoggingReport::new(page_range(11, 5), PAGE);
    reports(bench, &BIT_OF_PAGE, "write page 11, then ask for pages 11 to 15", &mut one, &[page_bytes(11, 1)], granule)
}

fn report_across_bitmap_pages(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    // The area lies where the second page of the bitmap begins.
    let area = IOVA + PAGES_OF_A_BITMAP_PAGE * PAGE - AREA_BYTES as u64 / 2;
    bench.map_area(area, AREA_BYTES)?;
    let range = IovaRange { iova: IOVA, length: 2 * PAGES_OF_A_BITMAP_PAGE * PAGE + 5 * PAGE };
    let granule = start(bench, range)?;
    write(bench, DmaDirection::ToMemory, area + 2 * PAGE, 12 * PAGE)?;
    let written = area + 2 * PAGE..=area + 14 * PAGE - 1;
    let asked = "write pages on both sides of where the second page of the bitmap begins";
    reports(bench, &LARGE_BITMAP, asked, &mut LoggingReport::new(range, PAGE), &[written], granule)
}

/// For the last of these places a page of memory ends in the middle of what was written.
fn report_unaligned(bench: &mut Bench, misaligned_by: usize) -> Judgement {
    needs_logging(bench)?;
    // The area lies where the second word of the bitmap begins.
    let area = IOVA + 56 * PAGE;
    bench.map_area(area, AREA_BYTES)?;
    let range = page_range(0, 192);
    let granule = start(bench, range)?;
    write(bench, DmaDirection::ToMemory, area + 4 * PAGE, 8 * PAGE)?;
    let written = area + 4 * PAGE..=area + 12 * PAGE - 1;
    let mut report = LoggingReport::new(range, PAGE);
    report.misaligned_by = misaligned_by;
    let asked = format!("write pages, with a bitmap {misaligned_by} bytes behind the beginning of a page");
    reports(bench, &ANY_ALIGNMENT, &asked, &mut report, &[written], granule)?;
    bench.judge(&ANY_ALIGNMENT, !report.overran, asked, "no write around the bitmap", "there was one")
}

fn report_tail(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    // 64 pages fill a word; the area holds those of the next one, which is not full.
    let area = IOVA + 64 * PAGE;
    bench.map_area(area, AREA_BYTES)?;
    let range = page_range(0, 64 + 5);
    let granule = start(bench, range)?;
    write(bench, DmaDirection::ToMemory, area + 4 * PAGE, PAGE)?;
    let written = area + 4 * PAGE..=area + 5 * PAGE - 1;
    let asked = "write the last page of a log of 69 pages";
    let mut report = LoggingReport::new(range, PAGE);
    reports(bench, &ANY_ALIGNMENT, asked, &mut report, &[written], granule)?;
    bench.judge(&ANY_ALIGNMENT, !report.overran, asked, "no write around the bitmap", "there was one")
}

fn report_in_pages_of(bench: &mut Bench, page_size: u64) -> Judgement {
    needs_logging(bench)?;
    // Aligned to all of the page sizes, so that the first bit stands for a whole page of each.
    let base = 4 * GIB;
    bench.map_area(base, AREA_BYTES)?;
    let range = IovaRange { iova: base, length: (2 * page_size).max(AREA_BYTES as u64) };
    let granule = start(bench, range)?;
    write(bench, DmaDirection::ToMemory, base + 5 * PAGE, 2 * PAGE)?;
    let written = base + 5 * PAGE..=base + 7 * PAGE - 1;
    let asked = format!("REPORT in pages of {page_size:#x}");
    reports(bench, &ANY_PAGE_SIZE, &asked, &mut LoggingReport::new(range, page_size), &[written], granule)
}

fn report_unwritable(bench: &mut Bench) -> Judgement {
    log_area(bench)?;
    write_pages(bench, 3, 1)?;
    let mut report = LoggingReport::new(AREA, PAGE);
    report.writable = false;
    let answer = bench.dma_logging_report(&mut report);
    let asked = "write a page, then REPORT into memory that cannot be written";
    bench.judge(&UNWRITABLE, answer.is_err(), asked, "an error", tell_return(&answer))?;
    recovers(bench, asked)
}

/// After a REPORT that failed: the old log counts for nothing, and a new one works.
fn recovers(bench: &mut Bench, asked: &str) -> Judgement {
    let stopped = bench.dma_logging_stop();
    let asked = format!("{asked}, which fails, then STOP");
    bench.judge(&FAILED_REPORT_RECOVERS, stopped == Ok(0), &asked, "success (0)", tell_return(&stopped))?;
    let mut again = LoggingStart::new(PAGE, vec![AREA]);
    let started = bench.dma_logging_start(&mut again);
    let asked = format!("{asked}, START");
    bench.judge(&FAILED_REPORT_RECOVERS, started == Ok(0), &asked, "success (0)", tell_return(&started))?;
    write_pages(bench, 5, 1)?;
    let mut report = LoggingReport::new(AREA, PAGE);
    let asked = format!("{asked}, write a page");
    reports(bench, &FAILED_REPORT_RECOVERS, &asked, &mut report, &[page_bytes(5, 1)], again.page_size)
}

fn report_bad_arguments(bench: &mut Bench) -> Judgement {
    log_area(bench)?;
    write_pages(bench, 3, 1)?;
    let beyond = IovaRange { iova: u64::MAX - PAGE + 1, length: 2 * PAGE };
    for (what, range, page_size) in [
        ("in pages of no size", AREA, 0),
        ("in pages of a size that is no power of two", AREA, 3 * PAGE),
        ("in pages of an odd size", AREA, PAGE + 1),
        ("of a range beyond the end of the address space", beyond, PAGE),
    ] {
        let mut report = LoggingReport::new(range, page_size);
        let answer = bench.dma_logging_report(&mut report);
        bench.judge(&REPORT_BAD, answer.is_err(), format!("REPORT {what}"), "an error", tell_return(&answer))?;
    }
    recovers(bench, "write a page, ask for a REPORT that is refused")
}

fn report_finer_than_the_log(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    bench.map_area(IOVA, AREA_BYTES)?;
    let granule = start_with(bench, LoggingStart::new(16 * PAGE, vec![AREA]))?;
    write_pages(bench, 5, 2)?;
    let asked = "START in pages of 0x10000, write two pages of 0x1000, ask for pages of that size";
    let mut report = LoggingReport::new(AREA, PAGE);
    reports(bench, &ANY_PAGE_SIZE, asked, &mut report, &[page_bytes(5, 2)], granule)
}

fn writes_in_pre_copy(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    let _session = bench.bring_to(State::PreCopy)?;
    write_pages(bench, 3, 2)?;
    let asked = "write pages in PRE_COPY";
    reports(bench, &ANY_STATE, asked, &mut LoggingReport::new(AREA, PAGE), &[page_bytes(3, 2)], granule)
}

/// A transfer moves while the device goes to STOP: what is written by then is in the log, and the rest once it is.
fn writes_that_are_waited_for(bench: &mut Bench) -> Judgement {
    needs_logging(bench)?;
    let area = bench.map_area(IOVA, AREA_BYTES)?;
    // More than the area, so that it has neither the first page nor the last; by whole words of the bitmap in front.
    let range = IovaRange { iova: IOVA - 64 * PAGE, length: AREA_BYTES as u64 + 65 * PAGE };
    let granule = start(bench, range)?;
    bench.begin_dma(DmaDirection::ToMemory, &area, AREA_BYTES, Duration::ZERO)?;
    let _session = bench.bring_to(State::Stop)?;
    let written: Vec<_> = area.written_pages().into_iter().map(|page| page_bytes(page as u64, 1)).collect();
    let asked = "enter STOP while the device writes";
    reports(bench, &ANY_STATE, asked, &mut LoggingReport::new(range, PAGE), &written, granule)?;
    let left: Vec<_> = (0..AREA_PAGES).map(|page| page_bytes(page, 1)).filter(|page| !written.contains(page)).collect();
    bench.move_to(State::Stop, State::Running)?;
    bench.stimulate(Stimulus::FinishDma)?;
    let asked = format!("{asked}, then go back to RUNNING, and let it end");
    reports(bench, &ANY_STATE, &asked, &mut LoggingReport::new(range, PAGE), &left, granule)
}

/// Another user, who knows nothing of the log, must not meet it.
fn closed_with_a_log(bench: &mut Bench) -> Judgement {
    log_area(bench)?;
    write_pages(bench, 3, 1)?;
    bench.open_again()?;
    let asked = "close the device while a log goes on, open it again";
    let answer = bench.dma_logging_report(&mut LoggingReport::new(AREA, PAGE));
    bench.judge(&CLOSE_ENDS, answer.is_err(), format!("{asked}, then REPORT"), "an error", tell_return(&answer))?;
    let mut again = LoggingStart::new(PAGE, vec![AREA]);
    let answer = bench.dma_logging_start(&mut again);
    bench.judge(&CLOSE_ENDS, answer == Ok(0), format!("{asked}, then START"), "success (0)", tell_return(&answer))?;
    let asked = format!("{asked}, then START");
    reports(bench, &CLOSE_ENDS, &asked, &mut LoggingReport::new(AREA, PAGE), &[], again.page_size)
}

fn reads(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    write(bench, DmaDirection::FromMemory, IOVA, AREA_BYTES as u64)?;
    let asked = "have the device read all of the log's pages";
    reports(bench, &READS, asked, &mut LoggingReport::new(AREA, PAGE), &[], granule)
}

/// A log that began in RUNNING is read in the state; one that begins in the state works too.
fn works_in(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    needs_logging(bench)?;
    require_start(bench)?;
    let granule = log_area(bench)?;
    write_pages(bench, 3, 2)?;
    let _session = bench.bring_to(state)?;
    let asked = format!("write pages, go to {state}");
    reports(bench, &ANY_STATE, &asked, &mut LoggingReport::new(AREA, PAGE), &[page_bytes(3, 2)], granule)?;
    stop(bench)?;
    let mut again = LoggingStart::new(PAGE, vec![AREA]);
    let answer = bench.dma_logging_start(&mut again);
    bench.judge(&ANY_STATE, answer == Ok(0), format!("START in {state}"), "success (0)", tell_return(&answer))?;
    let asked = format!("START in {state}, write nothing");
    reports(bench, &ANY_STATE, &asked, &mut LoggingReport::new(AREA, PAGE), &[], again.page_size)
}

fn across_reset(bench: &mut Bench) -> Judgement {
    let granule = log_area(bench)?;
    write_pages(bench, 3, 1)?;
    let reset = bench.reset();
    if reset != Ok(0) {
        let why = format!("reset answered {}", tell_return(&reset));
        return Err(Interruption::blocked_by(&reset::RUNNING, why));
    }
    let mut report = LoggingReport::new(AREA, PAGE);
    reports(bench, &ACROSS_RESET, "write a page, then RESET", &mut report, &[page_bytes(3, 1)], granule)
}

/// REPORT succeeds, and the bits are those of the bytes that were written: all of them, and no other but where the
/// device logs in larger pages than the report has.
fn reports(
    bench: &mut Bench,
    requirement: &'static Requirement,
    asked: &str,
    report: &mut LoggingReport,
    written: &[RangeInclusive<u64>],
    granule: u64,
) -> Judgement {
    let answer = bench.dma_logging_report(report);
    let bits = bits_of(&report.bitmap);
    let required = bits_for(report, written, 1);
    // A page size of 0 is for another check to judge.
    let allowed = bits_for(report, written, granule.max(PAGE));
    let kept = answer == Ok(0) && bits.is_superset(&required) && bits.is_subset(&allowed);
    let asked = format!("{asked}, then REPORT");
    let expected = format!("success (0), {}", tell_bits(&required));
    bench.judge(requirement, kept, asked, expected, format!("{}, {}", tell_return(&answer), tell_bits(&bits)))
}

/// The bits of the pages that hold something of what was written, in units of the granule.
fn bits_for(report: &LoggingReport, written: &[RangeInclusive<u64>], granule: u64) -> BTreeSet<u64> {
    let (first, last) = (report.range.iova, report.range.iova + (report.range.length - 1));
    let clipped = written.iter().filter_map(|bytes| {
        let start = (bytes.start() / granule * granule).max(first);
        let end = (bytes.end() / granule * granule).saturating_add(granule - 1).min(last);
        (start <= end).then_some((start, end))
    });
    clipped.flat_map(|(start, end)| (start - first) / report.page_size..=(end - first) / report.page_size).collect()
}

fn bits_of(bitmap: &[u64]) -> BTreeSet<u64> {
    let words = (0u64..).zip(bitmap).filter(|(_, word)| **word != 0);
    words.flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * at + bit)).collect()
}

/// `bits 3-7 9`, as far as it stays short.
fn tell_bits(bits: &BTreeSet<u64>) -> String {
    const SHORT: usize = 8;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for bit in bits {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *bit => *last = *bit,
            _ => runs.push((*bit, *bit)),
        }
    }
    let told = runs.iter().take(SHORT).map(|(first, last)| match first == last {
        true => format!(" {first}"),
        false => format!(" {first}-{last}"),
    });
    let told: String = told.collect();
    match runs.len() {
        0 => "no bit".to_owned(),
        1..=SHORT => format!("bits{told}"),
        _ => format!("bits{told} and more"),
    }
}

/// A range of pages, counted from where logs begin.
fn page_range(first: u64, pages: u64) -> IovaRange {
    IovaRange { iova: IOVA + first * PAGE, length: pages * PAGE }
}

/// The bytes of these pages.
fn page_bytes(first: u64, pages: u64) -> RangeInclusive<u64> {
    let IovaRange { iova, length } = page_range(first, pages);
    iova..=iova + (length - 1)
}

/// Memory that the device can write, and a log of all of it. Returns the page size that was selected.
fn log_area(bench: &mut Bench) -> Judgement<u64> {
    needs_logging(bench)?;
    bench.map_area(IOVA, AREA_BYTES)?;
    start(bench, AREA)
}

/// Begins a log of a range. That it can is for other checks to judge.
fn start(bench: &mut Bench, range: IovaRange) -> Judgement<u64> {
    start_with(bench, LoggingStart::new(PAGE, vec![range]))
}

/// Starts a log. Says in which pages the device keeps it, in bytes.
fn start_with(bench: &mut Bench, mut start: LoggingStart) -> Judgement<u64> {
    match bench.dma_logging_start(&mut start) {
        Ok(_) => Ok(start.page_size),
        Err(errno) => Err(no_log(errno)),
    }
}

fn stop(bench: &mut Bench) -> Judgement {
    match bench.dma_logging_stop() {
        Ok(_) => Ok(()),
        Err(errno) => {
            Err(Interruption::blocked_by(&STOP_ENDS, format!("the log could not be ended: STOP answered {errno:?}")))
        }
    }
}

fn start_refused(
    bench: &mut Bench,
    requirement: &'static Requirement,
    asked: &str,
    mut start: LoggingStart,
) -> Judgement {
    needs_logging(bench)?;
    require_start(bench)?;
    let answer = bench.dma_logging_start(&mut start);
    bench.judge(requirement, answer.is_err(), asked, "an error", tell_return(&answer))?;
    can_start_still(bench, asked)
}

/// A START that was refused has begun no log.
fn can_start_still(bench: &mut Bench, asked: &str) -> Judgement {
    let answer = bench.dma_logging_start(&mut LoggingStart::new(PAGE, vec![AREA]));
    let stopped = stop(bench);
    let asked = format!("{asked}, which is refused, then a good START");
    bench.judge(&REFUSAL_CHANGES_NOTHING, answer == Ok(0), asked, "success (0)", tell_return(&answer))?;
    stopped
}

/// What a refusal has changed can be seen only where a good START works.
fn require_start(bench: &mut Bench) -> Judgement {
    start(bench, AREA)?;
    stop(bench)?;
    // Once more, since a log that does not end keeps the next one away.
    match bench.dma_logging_start(&mut LoggingStart::new(PAGE, vec![AREA])) {
        Ok(_) => stop(bench),
        Err(errno) => Err(Interruption::blocked_by(
            &STOP_ENDS,
            format!("a log could not be started after STOP: START answered {errno:?}"),
        )),
    }
}

fn write_pages(bench: &mut Bench, first: u64, pages: u64) -> Judgement {
    let IovaRange { iova, length } = page_range(first, pages);
    write(bench, DmaDirection::ToMemory, iova, length)
}

/// One transfer, from its beginning to its end.
fn write(bench: &mut Bench, direction: DmaDirection, iova: u64, bytes: u64) -> Judgement {
    bench.stimulate(Stimulus::Dma { direction, iova, bytes, after: Duration::ZERO })?;
    bench.stimulate(Stimulus::FinishDma)
}

/// DMA logging is there; a device without it makes the check skip, once using it was seen to be refused.
fn needs_logging(bench: &mut Bench) -> Judgement {
    if bench.feature(&mut FeatureCall::new(Feature::DmaLoggingStart, Verb::Probe)) == Ok(0) {
        return Ok(());
    }
    let used = bench.dma_logging_start(&mut LoggingStart::new(PAGE, vec![AREA]));
    Err(match used {
        Err(Errno::ENOTTY) => Interruption::Skip(Skip::CorrectlyAbsent {
            what: "DMA_LOGGING_START is not there, and using it answers ENOTTY".to_owned(),
        }),
        used => Interruption::blocked_by(
            &PROBE,
            format!("PROBE does not find DMA_LOGGING_START, yet it answers {}", tell_return(&used)),
        ),
    })
}
