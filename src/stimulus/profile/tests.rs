//! Profiles as people write them, and what they do to a device that keeps what is written.

use std::collections::HashMap;
use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::stimulus::{DmaDirection, Observation, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::memory::DmaMemory;

type Outcome = Result<(), Box<dyn Error>>;

const HEAD: &str = "name = \"x\"\n[match]\ndriver = [\"x\"]\n";

fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles")
}

fn understood(text: &str) -> Profile {
    Profile::parse(&format!("{HEAD}{text}")).unwrap_or_else(|why| panic!("{}", why.in_text(text)))
}

fn wrong(text: &str) -> String {
    let text = format!("{HEAD}{text}");
    Profile::parse(&text).unwrap_err().in_text(&text)
}

/// A device of bytes: what was written is read back, and the rest is zero.
#[derive(Default)]
struct Bytes {
    written: Mutex<HashMap<(u32, u64), u8>>,
    mapped: Mutex<Vec<(u64, DmaMemory)>>,
}

impl Bytes {
    fn at(&self, region: u32, offset: u64, count: u64) -> Vec<u8> {
        let written = self.written.lock().unwrap();
        (offset..offset + count).map(|at| written.get(&(region, at)).copied().unwrap_or_default()).collect()
    }
}

impl Port for Bytes {
    fn read(&self, region: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        // One by one, as a device may.
        buffer[..1].copy_from_slice(&self.at(region, offset, 1));
        Ok(1)
    }

    fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        if region == 5 {
            return Err(Errno::EIO);
        }
        self.written.lock().unwrap().insert((region, offset), bytes[0]);
        Ok(1)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.mapped.lock().unwrap().push((iova, memory.clone()));
        Ok(0)
    }

    fn name(&self) -> &str {
        "0000:65:00.1"
    }
}

fn stimulate(profile: &Profile, port: &Bytes, stimulus: Stimulus) -> Result<(), StimulusError> {
    Player { profile, port, buffers: &Buffers::default() }.stimulate(stimulus)
}

fn observe(profile: &Profile, port: &Bytes) -> Result<Vec<u8>, StimulusError> {
    Player { profile, port, buffers: &Buffers::default() }.observe(Observation::State)
}

fn dma(iova: u64) -> Stimulus {
    Stimulus::Dma { direction: DmaDirection::ToMemory, iova, bytes: 4096, after: Duration::from_micros(1500) }
}

#[test]
fn every_profile_of_the_project_is_understood() -> Outcome {
    let mut count = 0;
    for file in std::fs::read_dir(profiles())? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Profile::read(&path)?;
            count += 1;
        }
    }
    assert!(count > BUNDLED.len());
    Ok(())
}

#[test]
fn the_bundled_target_lacks_nothing() -> Outcome {
    let profile = Profile::bundled(Some("1234:c0f0"), "").ok_or("no profile")?;
    let lacking: Vec<&str> =
        profile.plays().iter().filter(|(_, steps, _)| steps.is_none()).map(|(name, ..)| *name).collect();
    assert_eq!(lacking, [""; 0]);
    Ok(())
}

#[test]
fn the_schema_is_the_one_that_editors_find() -> Outcome {
    let path = profiles().join("profile.schema.json");
    let written = std::fs::read_to_string(&path)?;
    let hint = "vfio-conform profile schema > fixtures/profiles/profile.schema.json";
    assert!(written == Profile::schema(), "the language has changed: {hint}");
    Ok(())
}

#[test]
fn devices_find_their_profile() {
    let name = |pci, driver| Profile::bundled(pci, driver).map(|profile| profile.name);
    assert_eq!(name(Some("1234:C0F0"), "anything").as_deref(), Some("bundled PCI target"));
    assert_eq!(name(None, "mtty").as_deref(), Some("mtty"));
    assert_eq!(name(Some("15b3:101e"), "mlx5_vfio_pci"), None);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_was_meant() {
    let write = |rest: &str| wrong(&format!("[stimulus]\ndirty = [{{ write = {{ {rest} }} }}]\n"));
    let wait = |rest: &str| wrong(&format!("[stimulus]\ndirty = [\n    {{ wait = {{ {rest} }} }},\n]\n"));
    insta::assert_snapshot!(
        [
            wrong("[stimulus]\ndirt = []"),
            wrong("[stimulus]\ndirty = []"),
            wrong("[stimuli]\n"),
            wrong("[timeouts]\ncheck = 3\n"),
            wrong("[timeouts]\nstep_ms = 0\n"),
            wrong("[stimulus]\nstart_work = [{ write = { region = \"bar0\", offset = 0, value = 1 } }]"),
            wrong("[stimulus]\ndirty = [{ wirte = { region = \"bar0\", offset = 0, value = 1 } }]"),
            write("region = \"bar9\", offset = 0, value = 1"),
            write("offset = 0, value = 1"),
            write("region = \"bar0\", buffer = \"ring\", offset = 0, value = 1"),
            write("buffer = \"ring\", offset = 0, value = 1"),
            write("region = \"bar0\", offset = 0, value = 1, bytes = 3"),
            write("region = \"bar0\", offset = 0, value = 256, bytes = 1"),
            write("region = \"bar0\", offset = -1, value = 1"),
            write("region = \"bar0\", offset = 0, value = -1"),
            write("region = \"bar0\", offset = 0, value = \"byte\""),
            write("region = \"bar0\", offset = 0, value = \"iova\""),
            wait("region = \"bar0\", offset = 0"),
            wait("region = \"bar0\", offset = 0, value = 2, mask = 1"),
            wait("region = \"bar0\", offset = 0, value = 2, unlike = 1"),
            wrong("[[buffer]]\nname = \"iova\"\nbytes = 4096\n"),
            wrong("[[buffer]]\nname = \"ring\"\nbytes = 4096\niova = 4096\n"),
            wrong("[stimulus]\nenter_error = [{ command = { program = [] } }]"),
            wrong("[stimulus]\ninterrupt = [{ command = { program = [\"x\"] } }]"),
            wrong("[interrupt]\nindex = \"msi-x\"\n"),
            wrong("[p2p]\ndistinguishes = \"yes\"\n"),
            wrong("[resume]\ndetects = [\"empty\", \"truncate\"]\n"),
            Profile::parse("name = \"x\"\n[match]\n").unwrap_err().in_text(""),
            Profile::parse("name = \"x\"\n[match]\npci = [\"mlx5\"]\n")
                .unwrap_err()
                .in_text("name = \"x\"\n[match]\npci = [\"mlx5\"]\n"),
            wrong("[stimulus\n"),
        ]
        .join("\n----\n")
    );
}

#[test]
fn profile_with_many_mistakes_reports_each_with_its_line() {
    let text = r#"[match]
pci = ["mlx5", "1af4:1041"]

[timeouts]
check = 3
check_s = 0
step_ms = "soon"

[[buffer]]
name = "ring"
bytes = 4096
iova = 0x100000

[[buffer]]
name = "rings"
byte = 4096

[[buffer]]
name = "other"
bytes = 0x20000
iova = 0x100000

[stimulus]
enter_error = [
    { write = { region = "bar0", offset = 0, value = 1 } },
    { wirte = { region = "bar0", offset = 0, value = 1 } },
    { write = { region = "bar9", offset = 0, value = 1 } },
    { write = { region = "config", offset = 0xffe, value = 1 } },
    { write = { buffer = "rung", offset = 0, value = "byts" } },
]
dirt = []
finish_dma = [{ wait = { buffer = "ring", offset = 0xfffe, value = 1, within_ms = 20000 } }]
stop_work = []

[interrupt]
index = "msi"
vector = 32

[state]
compare = [{ read = { region = "bar0", offset = 0, into = "x" } }]

[resume]
detects = ["empty", "truncate"]
"#;
    insta::assert_snapshot!(Profile::parse(text).unwrap_err().in_text(text));
}

#[test]
fn mistake_that_cannot_be_read_hides_no_other_and_causes_none() {
    let text = format!(
        "{HEAD}[stimulus]
start_work = [{{ write = {{ region = \"bar0\", offset = 0, value = 1 }} }}]
stopwork = [{{ write = {{ region = \"bar0\", offset = 0, value = 0 }} }}]
dirty = [{{ raed = {{ region = \"bar0\", offset = 0, into = \"x\" }} }}, {{ write = {{ region = \"bar0\", offset = 0, value = \"x\" }} }}]
"
    );
    insta::assert_snapshot!(Profile::parse(&text).unwrap_err().in_text(&text));
}

#[test]
fn profile_for_another_device_is_refused_unless_forced() {
    let profile = understood("");
    let misfit = profile.misfit(Some("1234:c0f0"), "vfio-pci").map(|misfit| misfit.to_string());
    insta::assert_snapshot!(misfit.unwrap_or_default(), @r#"the profile "x" is for driver x, and the device is 1234:c0f0, driver vfio-pci"#);
    assert_eq!(profile.misfit(None, "x"), None);
    assert_eq!(profile.forced(true).misfit(None, "mtty"), None);
}

#[test]
fn a_stimulus_writes_what_the_profile_says() -> Outcome {
    let profile = Profile::bundled(Some("1234:c0f0"), "").ok_or("no profile")?;
    let port = Bytes::default();
    stimulate(&profile, &port, Stimulus::EnterError)?;
    assert_eq!(port.at(0, 0x50, 4), b"BRKN");
    stimulate(&profile, &port, Stimulus::Dirty(300))?;
    let first = port.at(2, 0, 300);
    stimulate(&profile, &port, Stimulus::Dirty(300))?;
    assert!(first.iter().zip(port.at(2, 0, 300)).all(|(before, after)| *before != after));
    Ok(())
}

#[test]
fn variables_get_what_the_stimulus_is_about() -> Outcome {
    let profile = Profile::bundled(Some("1234:c0f0"), "").ok_or("no profile")?;
    let port = Bytes::default();
    stimulate(&profile, &port, dma(0x12_3456_7000))?;
    assert_eq!(port.at(0, 0x108, 8), 0x12_3456_7000u64.to_le_bytes());
    assert_eq!(port.at(0, 0x110, 4), 4096u32.to_le_bytes());
    assert_eq!(port.at(0, 0x114, 4), 1500u32.to_le_bytes());
    let halves = understood(
        "[stimulus]\ndma_to_memory = [
        { write = { region = \"bar0\", offset = 0, value = \"iova\" } },
        { write = { region = \"bar0\", offset = 4, value = \"iova_high\" } },
        { write = { region = \"bar0\", offset = 8, value = \"delay_ms\", bytes = 1 } },
        ]\nfinish_dma = [{ command = { program = [\"true\"] } }]",
    );
    stimulate(&halves, &port, dma(0x12_3456_7000))?;
    assert_eq!(port.at(0, 0, 9), [0x00, 0x70, 0x56, 0x34, 0x12, 0, 0, 0, 2]);
    Ok(())
}

#[test]
fn a_value_that_does_not_fit_is_no_value() {
    let narrow =
        understood("[stimulus]\ndirty = [{ write = { region = \"bar0\", offset = 0, value = \"bytes\", bytes = 1 } }]");
    let refused = stimulate(&narrow, &Bytes::default(), Stimulus::Dirty(256)).unwrap_err().to_string();
    insta::assert_snapshot!(refused, @"failed to change 256 bytes of device state: step 1 of dirty: 0x100 does not fit into 1 bytes: give the register's width with bytes");
}

#[test]
fn what_a_device_lacks_is_said() {
    let refused = stimulate(&understood(""), &Bytes::default(), Stimulus::Reconfigure).unwrap_err();
    insta::assert_snapshot!(refused, @"the profile has no `stimulus.reconfigure`");
}

#[test]
fn steps_that_fail_say_which_and_why() {
    let profile = understood(
        "[timeouts]\nstep_ms = 3\n[stimulus]
        enter_error = [{ write = { region = \"bar0\", offset = 0, value = 1 } }, { write = { region = \"bar5\", offset = 8, value = 1 } }]
        start_work = [{ wait = { region = \"bar0\", offset = 0x20, value = 7 } }]
        stop_work = [{ read = { region = \"config\", offset = 0x20, value = 7 } }]\n",
    );
    let refused = |stimulus| stimulate(&profile, &Bytes::default(), stimulus).unwrap_err().to_string();
    insta::assert_snapshot!(
        [refused(Stimulus::EnterError), refused(Stimulus::StartWork), refused(Stimulus::StopWork)].join("\n"),
        @r"
    failed to fail the next transition into ERROR: step 2 of enter_error: writing bar5 at 0x8 answered EIO
    failed to start work: step 1 of start_work: bar0 at 0x20 is 0x0 after 3 ms, where 0x7 was waited for
    failed to stop work: step 1 of stop_work: reading config at 0x20 gave 0x0 instead of 0x7
    "
    );
}

#[test]
fn what_is_read_can_be_kept_or_observed() -> Outcome {
    let profile = understood(
        "[stimulus]\nreconfigure = [
        { read = { region = \"bar1\", offset = 0, mask = 0xff, into = \"pages\" } },
        { write = { region = \"bar1\", offset = 8, value = \"pages\" } },
        ]\n[state]\ncompare = [
        { read = { region = \"bar1\", offset = 0, bytes = 2, mask = 0xff00 } },
        { read = { region = \"bar1\", offset = 0, into = \"unseen\" } },
        { dump = { region = \"bar1\", offset = 8, bytes = 3 } },
        ]\n",
    );
    let port = Bytes::default();
    port.written.lock().unwrap().extend([((1, 0), 7), ((1, 1), 9)]);
    stimulate(&profile, &port, Stimulus::Reconfigure)?;
    assert_eq!(observe(&profile, &port)?, [0, 9, 7, 0, 0]);
    Ok(())
}

#[test]
fn buffers_are_mapped_once_and_named_by_their_address() -> Outcome {
    let profile = understood(
        "[[buffer]]\nname = \"ring\"\nbytes = 4096\n[[buffer]]\nname = \"far\"\nbytes = 70000\niova = 0x1200000000\n
        [stimulus]\nenter_error = [
        { write = { buffer = \"ring\", offset = 16, value = 0x55aa } },
        { write = { region = \"bar0\", offset = 0, value = \"ring\" } },
        { write = { region = \"bar0\", offset = 8, value = \"far\" } },
        { write = { region = \"bar0\", offset = 12, value = \"far_high\" } },
        ]\ndirty = [{ fill = { buffer = \"ring\", offset = 0xff00 } }]\n",
    );
    let (port, buffers) = (Bytes::default(), Buffers::default());
    let player = Player { profile: &profile, port: &port, buffers: &buffers };
    player.stimulate(Stimulus::EnterError)?;
    player.stimulate(Stimulus::EnterError)?;
    let mapped = port.mapped.lock().unwrap();
    assert_eq!(mapped.len(), 2);
    let (iova, ring) = &mapped[0];
    assert_eq!(ring.read(16, 2), [0xaa, 0x55]);
    assert_eq!(port.at(0, 0, 4), (*iova as u32).to_le_bytes());
    assert_eq!(port.at(0, 8, 8), 0x12_0000_0000u64.to_le_bytes());
    player.stimulate(Stimulus::Dirty(0x100))?;
    let refused = player.stimulate(Stimulus::Dirty(0x101)).unwrap_err().to_string();
    assert!(refused.contains("more than its 65536"), "{refused}");
    Ok(())
}

/// A profile in a folder of its own, with a program that does what the script says.
fn with_program(script: &str) -> Result<(tempfile::TempDir, Profile), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("tool");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let path = folder.path().join("x.toml");
    let step = "[{ command = { program = [\"./tool\", \"--quiet\"], within_ms = 5000 } }]";
    let text = format!(
        "{HEAD}[stimulus]\ndma_to_memory = {step}\nfinish_dma = {step}\nreconfigure = \
         [{{ command = {{ program = [\"./tool\"], within_ms = 50 }} }}]\n[state]\ncompare = {step}\n"
    );
    std::fs::write(&path, text)?;
    Ok((folder, Profile::read(&path)?))
}

#[test]
fn a_program_is_told_what_to_do_and_what_it_says_is_observed() -> Outcome {
    let (folder, profile) = with_program("echo \"$@\" | tee \"$(dirname \"$0\")/told\"")?;
    let port = Bytes::default();
    stimulate(&profile, &port, dma(0x10_0000))?;
    let told = std::fs::read_to_string(folder.path().join("told"))?;
    insta::assert_snapshot!(told, @"--quiet do=dma_to_memory device=0000:65:00.1 iova=1048576 bytes=4096 delay_us=1500 delay_ms=2");
    assert_eq!(observe(&profile, &port)?, b"--quiet do=compare device=0000:65:00.1\n");
    Ok(())
}

#[test]
fn a_program_may_fail_be_at_a_loss_or_be_missing() -> Outcome {
    let (folder, profile) =
        with_program("case $2 in *dma_to*) exit 77;; esac; echo first >&2; echo no such queue >&2; exit 3")?;
    let port = Bytes::default();
    let lacking = stimulate(&profile, &port, dma(0));
    assert!(matches!(lacking, Err(StimulusError::Declined(_))), "{lacking:?}");
    let failed = stimulate(&profile, &port, Stimulus::FinishDma).unwrap_err();
    std::fs::remove_file(folder.path().join("tool"))?;
    let missing = stimulate(&profile, &port, Stimulus::FinishDma).unwrap_err();
    insta::assert_snapshot!(format!("{failed}\n{missing}"), @r"
    failed to finish the DMA: step 1 of finish_dma: ./tool ended with exit status: 3: no such queue
    failed to finish the DMA: step 1 of finish_dma: failed to run ./tool: No such file or directory (os error 2)
    ");
    Ok(())
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_what_it_started() -> Outcome {
    let (_folder, profile) = with_program("sleep 60 & sleep 60")?;
    let began = Instant::now();
    let slow = stimulate(&profile, &Bytes::default(), Stimulus::Reconfigure).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(50));
    insta::assert_snapshot!(slow, @"failed to reconfigure device memory: step 1 of reconfigure: ./tool was not done after 50 ms, and was killed");
    Ok(())
}
