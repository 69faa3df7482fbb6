//! `doctor`, `bind`, `unbind` and `run --resume` as a user has them: on a real kernel with its own modules, Debian's own
//! modprobe, and a function that is bound to nothing or to vfio-pci. The guest of the lab is the host here.
//!
//! Like the tests in `emulated.rs` this needs the environment of the qemu lab; `./ci/test` runs it. `VFIO_CONFORM` names the
//! program to test, which is otherwise the one that cargo has just built.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vfio_conform::lab::environment::{Environment, ModuleOptions, cache};
use vfio_conform::lab::pci;

type Outcome<T> = Result<T, Box<dyn Error>>;

const KERNEL: &str = "7.3";
/// What the script runs beside vfio-conform, of the environment's root file system.
const PROGRAMS: [(&str, &str); 6] =
    [("dash", "sh"), ("cat", "cat"), ("grep", "grep"), ("readlink", "readlink"), ("kmod", "modprobe"), ("rm", "rm")];
/// What the kernel has for VFIO, as a distribution ships it.
const MODULES: [&str; 2] = ["kernel/drivers/vfio", "kernel/virt"];

/// Puts together what a host has that the lab's guests have no need of.
fn make_root(root: &Path) -> Outcome<()> {
    let mut tell = |_: &str| ();
    let mut environment = Environment::new(&mut tell);
    environment.qemu()?;
    let base = cache().ok_or("no cache")?.join("base");
    for (from, to) in PROGRAMS {
        copy(&base.join("usr/bin").join(from), &root.join("bin").join(to))?;
    }
    copy(&base.join("usr/lib64/ld-linux-x86-64.so.2"), &root.join("lib64/ld-linux-x86-64.so.2"))?;
    // The last one is loaded when a compressed module is met.
    for library in ["libc.so.6", "libpcre2-8.so.0", "libcrypto.so.3", "libz.so.1", "libzstd.so.1", "liblzma.so.5"] {
        let name = Path::new("usr/lib/x86_64-linux-gnu").join(library);
        copy(&base.join(&name), &root.join(&name))?;
    }
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/script")), &root.join("script"))?;

    let kernel = environment.kernel(KERNEL)?;
    let shipped = kernel.image.parent().ok_or("no kernel")?.join("modules");
    let modules = root.join("lib/modules").join(&kernel.release);
    for part in MODULES {
        copy_all(&shipped.join(part), &modules.join(part))?;
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        if shipped.join(list).exists() {
            copy(&shipped.join(list), &modules.join(list))?;
        }
    }
    let driver = root.with_extension("driver");
    pci::write_driver(&driver)?;
    let options = ModuleOptions { driver: Some(driver), ..ModuleOptions::default() };
    let built = environment.modules(KERNEL, "pci", &options)?;
    let driver = built.files.iter().find(|file| file.ends_with("vfio-conform-pci.ko")).ok_or("no driver")?;
    copy(driver, &modules.join("updates/vfio-conform-pci.ko"))?;
    depmod(&base, root, &kernel.release)
}

/// Writes the lists of aliases and dependencies, as an installation of a driver does.
fn depmod(base: &Path, root: &Path, release: &str) -> Outcome<()> {
    let output = Command::new(base.join("usr/lib64/ld-linux-x86-64.so.2"))
        .args(["--argv0", "depmod", "--inhibit-cache", "--library-path"])
        .arg(base.join("usr/lib/x86_64-linux-gnu"))
        .arg(base.join("usr/bin/kmod"))
        .arg("--basedir")
        .arg(root)
        .arg(release)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Outcome<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &to)?,
            false => copy(&entry.path(), &to)?,
        }
    }
    Ok(())
}

/// What was said in each part of the script.
struct Said(BTreeMap<String, String>);

impl Said {
    fn by_the_guest() -> Outcome<Said> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        make_root(&root)?;
        let program =
            std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from);
        let output = Command::new(program)
            .args(["qemu", "--target", "pci", "--kernel", KERNEL, "--script"])
            .arg(&root)
            .output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let said = answer["said"].as_str().ok_or("nothing was said")?;
        assert_eq!(answer["code"], 0, "{said}");
        println!("{said}");
        let parts = said.split("== ").filter_map(|part| part.split_once('\n'));
        Ok(Said(parts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()))
    }

    /// That these lines, or beginnings of lines, were said in this part in this order.
    fn expect(&self, part: &str, lines: &[&str]) {
        let said = self.0.get(part).unwrap_or_else(|| panic!("there is no part {part}: {:?}", self.0.keys()));
        let mut rest = said.lines().map(str::trim_start);
        for line in lines {
            assert!(rest.any(|said| said.starts_with(line)), "{part}: {line:?} was not said in its place:\n{said}");
        }
    }

    fn expect_not(&self, part: &str, text: &str) {
        let said = self.0.get(part).map_or("", String::as_str);
        assert!(!said.contains(text), "{part}: {text:?} was said:\n{said}");
    }
}

#[test]
#[ignore = "boots a guest: ./ci/test, or cargo test --test host -- --ignored"]
fn a_function_is_found_bound_tested_and_put_back() -> Outcome<()> {
    let said = Said::by_the_guest()?;
    said.expect(
        "as it is",
        &[
            "no driver",
            "override (null)",
            "no state",
            "device    0000:00:10.0 (",
            "obstacle  ",
            "sudo modprobe -a vfio_iommu_type1 vfio-pci",
            "obstacle  ",
            "sudo vfio-conform bind 0000:00:10.0    # to vfio_conform_pci",
            "not ready",
            "exit code 2",
        ],
    );
    said.expect(
        "with VFIO",
        &["obstacle  ", "sudo vfio-conform bind 0000:00:10.0    # to vfio_conform_pci", "exit code 2"],
    );
    said.expect_not("with VFIO", "modprobe");
    said.expect(
        "bind",
        &[
            "0000:00:10.0 is bound to vfio_conform_pci",
            "exit code 0",
            "driver ",
            "override vfio_conform_pci",
            "state kept",
            "0000:00:10.0 is bound to vfio_conform_pci already",
            "exit code 0",
        ],
    );
    said.expect("ready", &["note      vfio-conform bound 0000:00:10.0; it had no driver", "ready: ", "exit code 0"]);
    said.expect_not("ready", "obstacle");
    said.expect("run", &["test reset::", "verdict      conforms", "exit code 0"]);
    said.expect(
        "group number",
        &[
            "vfio-conform: failed to bind ",
            "name one function by its address",
            "exit code 2",
            "vfio-conform: failed to unbind ",
            "exit code 2",
            "driver ",
            "state kept",
        ],
    );
    said.expect(
        "killed without a driver",
        &[
            "no driver",
            "state kept",
            "obstacle  it is bound to no driver",
            "sudo vfio-conform unbind 0000:00:10.0    # a run that was killed",
            "note      a run that was killed took 0000:00:10.0 from the driver ",
            "exit code 2",
            "vfio-conform: failed to open ",
            "exit code 2",
            "0000:00:10.0 has the driver ",
            "exit code 0",
            "driver ",
            "no state",
        ],
    );
    said.expect("cut off", &["killed: exit code 137"]);
    // It could not be opened again if the executor had not died with it. A check that was running then is left for the
    // second time, since it may be what killed the run.
    said.expect("resume", &["vfio-conform: going on with ", "exit code "]);
    said.expect_not("resume", "test fsm::opens_running");
    said.expect("resume again", &["verdict      conforms", "exit code 0"]);
    said.expect(
        "unbind",
        &["0000:00:10.0 has no driver again", "exit code 0", "no driver", "override (null)", "no state", "exit code 0"],
    );
    said.expect(
        "bound to vfio-pci",
        &["override vfio-pci", "obstacle  it is bound to vfio-pci", "sudo vfio-conform bind", "exit code 2"],
    );
    said.expect(
        "there and back",
        &[
            "exit code 0",
            "override vfio_conform_pci",
            "0000:00:10.0 has the driver vfio-pci again",
            "exit code 0",
            "driver vfio-pci",
            "override vfio-pci",
            "no state",
        ],
    );
    said.expect(
        "bind dies",
        &["killed: exit code ", "state kept", "note      vfio-conform bound 0000:00:10.0; it had the driver vfio-pci"],
    );
    said.expect("put back", &["exit code 0", "driver vfio-pci", "override vfio-pci", "no state"]);
    said.expect(
        "in use",
        &["exit code 2", "0000:00:10.0 has the driver vfio-pci again", "exit code 0", "override vfio-pci", "no state"],
    );
    Ok(())
}
