//! Waivers as people write them.

use time::macros::date;

use super::*;

const GOOD: &str = r#"
[[waiver]]
requirement = "fsm.open.running"
pci = ["1D1D:0001"]
firmware = ">=28.36, <28.40"
kernel = "<7.3"
reason = "mended in the next firmware"
link = "https://example.org/1"
expires = 2027-06-30
"#;

fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replacen(old, new, 1)
}

fn wrong(text: &str) -> String {
    Waivers::parse(text).unwrap_err().in_text(text)
}

fn first(text: &str) -> Waiver {
    Waivers::parse(text).unwrap_or_else(|why| panic!("{}", why.in_text(text))).all.remove(0)
}

#[test]
fn a_waiver_is_for_one_device_firmware_and_kernel() {
    let waiver = first(GOOD);
    let subject =
        Subject { pci: Some("1d1d:0001"), driver: "x", firmware: Some("28.39.1002"), kernel: "6.12.94+deb13-amd64" };
    assert!(waiver.fits(&subject));
    for other in [
        Subject { pci: Some("1d1d:0002"), ..subject },
        Subject { pci: None, ..subject },
        Subject { firmware: Some("28.40"), ..subject },
        Subject { firmware: None, ..subject },
        Subject { kernel: "7.3.4", ..subject },
    ] {
        assert!(!waiver.fits(&other), "{other:?}");
    }
    let by_driver = first(&with("pci = [\"1D1D:0001\"]", "driver = [\"x\"]"));
    assert!(by_driver.fits(&Subject { pci: None, ..subject }));
}

#[test]
fn a_waiver_holds_up_to_its_last_day() {
    let waivers = Waivers::parse(GOOD).unwrap();
    assert_eq!(waivers.expired(date!(2027 - 06 - 30)), None);
    assert_eq!(waivers.expired(date!(2027 - 07 - 01)).map(Waiver::requirement), Some("fsm.open.running"));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_was_meant() {
    let texts = [
        String::new(),
        with("expires = 2027-06-30", ""),
        with("reason =", "reson ="),
        with("fsm.open.running", "fsm.open.runing"),
        with("fsm.open.running", "nothing"),
        with("fsm.open.running", "dma_logging.stop.alone"),
        with("pci = [\"1D1D:0001\"]", ""),
        with("1D1D:0001", "1D1D"),
        with(">=28.36, <28.40", "28.x"),
        with("mended in the next firmware", " "),
        with("https://example.org/1", "ticket 1"),
        with("2027-06-30", "\"2027-06-30\""),
        with("2027-06-30", "2027-06-30T10:00:00Z"),
    ];
    let told: Vec<String> = texts.iter().map(|text| wrong(text)).collect();
    insta::assert_snapshot!(told.join("\n\n"));
}
