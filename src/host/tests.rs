//! A host that is made up in a folder, with a kernel that does what attributes of sysfs ask for.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Host;
use super::bind::{BindError, bind, unbind};
use super::doctor;
use super::state::StateFolder;
use crate::device::KernelName;

const FUNCTION: &str = "0000:65:00.1";
const RELEASE: &str = "7.3.4";
const ALIASES: &str = "alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core\n\
                       alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n\
                       alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n";

struct MadeUp {
    folder: TempDir,
}

impl MadeUp {
    /// A host that lacks nothing, with one function on its native driver.
    fn new() -> MadeUp {
        let made_up = MadeUp { folder: TempDir::new().unwrap() };
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "7.3.4\n"),
            ("proc/sys/kernel/random/boot_id", "one\n"),
            ("proc/self/mountinfo", "22 1 259:9 / / rw - ext4 /dev/other rw\n"),
            ("proc/swaps", "Filename Type Size\n"),
            ("proc/meminfo", "HugePages_Total:       0\n"),
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("sys/kernel/security/lockdown", "[none] integrity confidentiality\n"),
            ("sys/class/iommu/dmar0/x", ""),
            ("dev/vfio/vfio", ""),
            ("sys/bus/pci/drivers_probe", ""),
            ("sys/bus/pci/drivers/mlx5_core/bind", ""),
            ("sys/bus/pci/drivers/pcieport/bind", ""),
        ] {
            made_up.write(path, text);
        }
        made_up.write(&format!("lib/modules/{RELEASE}/modules.alias"), ALIASES);
        made_up.function(FUNCTION, Some("mlx5_core"), 12);
        made_up.script("modprobe", "mkdir -p \"$R/sys/module/$2/drivers/pci:$2\" \"$R/sys/bus/pci/drivers/$2\"");
        made_up
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\nR={}\n{text}\n", self.root().display()));
        fs::set_permissions(self.root().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn link(&self, link: &str, target: &str) {
        let link = self.root().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(self.root().join(target), link).unwrap();
    }

    fn function(&self, address: &str, driver: Option<&str>, group: u32) {
        let folder = format!("sys/devices/pci0/{address}");
        for (name, text) in [
            ("vendor", "0x15b3\n"),
            ("device", "0x101e\n"),
            ("modalias", "pci:v000015B3d0000101Esv000015B3sd00000007bc02sc00i00\n"),
            ("driver_override", "(null)\n"),
        ] {
            self.write(&format!("{folder}/{name}"), text);
        }
        self.link(&format!("sys/bus/pci/devices/{address}"), &folder);
        self.link(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"), &folder);
        self.link(&format!("{folder}/iommu_group"), &format!("sys/kernel/iommu_groups/{group}"));
        if let Some(driver) = driver {
            self.link(&format!("{folder}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        }
    }

    /// The host, with a kernel in which every driver takes what it is given.
    fn host(&self) -> Host {
        self.with_kernel(|_| true)
    }

    /// A host in whose kernel a driver takes a function only if this says so.
    fn with_kernel(&self, takes: impl Fn(&str) -> bool + 'static) -> Host {
        let root = self.root();
        let write = move |path: &Path, text: &str| obey(&root, path, text, &takes);
        Host { write: Box::new(write), modprobe: self.root().join("modprobe"), ..Host::at(&self.root()) }
    }

    fn state(&self) -> StateFolder {
        StateFolder::at(&self.root().join("run"))
    }

    fn attribute(&self, name: &str) -> String {
        fs::read_to_string(self.root().join("sys/bus/pci/devices").join(FUNCTION).join(name)).unwrap()
    }

    fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.root().join("sys/bus/pci/devices").join(FUNCTION).join("driver"));
        link.ok().map(|target| target.file_name().unwrap().to_string_lossy().into_owned())
    }

    fn is_kept(&self) -> bool {
        self.root().join("run").join(format!("{FUNCTION}.json")).exists()
    }

    /// What `doctor` says of the function.
    fn diagnosis(&self) -> String {
        doctor::device(&self.host(), &name(), &self.state()).unwrap().to_string()
    }
}

fn name() -> KernelName {
    KernelName::Pci(FUNCTION.to_owned())
}

/// What the kernel does when an attribute is written.
fn obey(root: &Path, path: &Path, text: &str, takes: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let device = root.join("sys/devices/pci0").join(FUNCTION);
    let attach = |driver: &str| -> io::Result<()> {
        if !takes(driver) {
            return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        }
        symlink(root.join("sys/bus/pci/drivers").join(driver), device.join("driver"))?;
        match driver.ends_with("vfio_pci") {
            true => fs::create_dir_all(device.join("vfio-dev/vfio0")),
            false => Ok(()),
        }
    };
    match path.file_name().unwrap().to_str().unwrap() {
        "unbind" => {
            let _ = fs::remove_dir_all(device.join("vfio-dev"));
            fs::remove_file(device.join("driver"))
        }
        "drivers_probe" => attach(fs::read_to_string(device.join("driver_override"))?.trim()),
        "bind" => attach(path.parent().unwrap().file_name().unwrap().to_str().unwrap()),
        _ => fs::write(path, text),
    }
}

#[test]
fn a_function_is_bound_to_the_best_variant_and_put_back() {
    let made_up = MadeUp::new();
    let host = made_up.host();
    let told = bind(&host, &name(), None, &made_up.state()).unwrap();
    assert!(told.starts_with("0000:65:00.1 is bound to mlx5_vfio_pci\n"), "{told}");
    assert_eq!(made_up.driver().as_deref(), Some("mlx5_vfio_pci"));
    assert!(made_up.diagnosis().contains("vfio-conform bound 0000:65:00.1; it had the driver mlx5_core"));
    let again = bind(&host, &name(), None, &made_up.state()).unwrap();
    assert_eq!(again, "0000:65:00.1 is bound to mlx5_vfio_pci already");

    assert_eq!(unbind(&host, &name(), &made_up.state()).unwrap(), "0000:65:00.1 has the driver mlx5_core again");
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));
    assert_eq!(made_up.attribute("driver_override"), "\n");
    let again = unbind(&host, &name(), &made_up.state()).unwrap();
    assert_eq!(again, "0000:65:00.1 was not bound by vfio-conform; nothing to put back");
}

/// Dying after any of the writes leaves a state from which `unbind` finds the way back, and so does `bind` forward.
#[test]
fn whoever_dies_on_the_way_can_go_on_or_back() {
    for survives in 0..3 {
        for goes_on in [false, true] {
            let made_up = MadeUp::new();
            let root = made_up.root();
            let left = std::cell::Cell::new(survives);
            let write = move |path: &Path, text: &str| match left.replace(left.get() - 1) {
                0.. if left.get() >= 0 => obey(&root, path, text, &|_| true),
                _ => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            };
            let dying = Host { write: Box::new(write), ..made_up.host() };
            bind(&dying, &name(), None, &made_up.state()).unwrap_err();
            assert!(made_up.is_kept(), "after {survives} writes");
            if goes_on {
                bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
                assert_eq!(made_up.driver().as_deref(), Some("mlx5_vfio_pci"));
            }
            unbind(&made_up.host(), &name(), &made_up.state()).unwrap();
            assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"), "after {survives} writes");
            assert!(!made_up.is_kept());
        }
    }
}

#[test]
fn a_driver_that_refuses_leaves_things_as_they_were() {
    let made_up = MadeUp::new();
    let host = made_up.with_kernel(|driver| driver == "mlx5_core");
    let error = bind(&host, &name(), None, &made_up.state()).unwrap_err().to_string();
    assert!(error.ends_with("dmesg says why; it was put back as it was"), "{error}");
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));
}

#[test]
fn what_was_kept_in_an_earlier_boot_is_forgotten() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
    made_up.write("proc/sys/kernel/random/boot_id", "two\n");
    let told = unbind(&made_up.host(), &name(), &made_up.state()).unwrap();
    assert!(told.ends_with("nothing to put back"), "{told}");
    assert!(!made_up.is_kept());
}

#[test]
fn a_function_without_a_driver_is_put_back_to_none() {
    let made_up = MadeUp::new();
    fs::remove_file(made_up.root().join("sys/devices/pci0").join(FUNCTION).join("driver")).unwrap();
    bind(&made_up.host(), &name(), Some("mlx5_vfio_pci"), &made_up.state()).unwrap();
    assert_eq!(unbind(&made_up.host(), &name(), &made_up.state()).unwrap(), "0000:65:00.1 has no driver again");
    assert_eq!(made_up.driver(), None);
}

/// Puts somebody on the function who uses it.
fn occupy(made_up: &MadeUp, how: &str) {
    let folder = format!("sys/devices/pci0/{FUNCTION}");
    let block = format!("{folder}/nvme/nvme0n1");
    match how {
        "mounted" | "swap" | "held" => {
            made_up.write(&format!("{block}/dev"), "259:0\n");
            made_up.link("sys/class/block/nvme0n1", &block);
        }
        _ => {}
    }
    match how {
        "mounted" => made_up.write("proc/self/mountinfo", "22 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n"),
        "swap" => made_up.write("proc/swaps", "Filename Type\n/dev/nvme0n1 partition\n"),
        "held" => made_up.write(&format!("{block}/holders/dm-0"), ""),
        "network" => {
            made_up.write(&format!("{folder}/net/eth7/flags"), "0x1003\n");
            made_up.link("sys/class/net/eth7", &format!("{folder}/net/eth7"));
        }
        "functions" => made_up.write(&format!("{folder}/sriov_numvfs"), "2\n"),
        "open" => {
            made_up.write("proc/77/comm", "qemu-system-x86\n");
            fs::create_dir_all(made_up.root().join("proc/77/fd")).unwrap();
            symlink("/dev/vfio/12", made_up.root().join("proc/77/fd/9")).unwrap();
        }
        _ => panic!("{how}"),
    }
}

#[test]
fn what_is_in_use_is_refused_with_its_user() {
    let mut text = String::new();
    for how in ["mounted", "swap", "held", "network", "functions", "open"] {
        let made_up = MadeUp::new();
        occupy(&made_up, how);
        let error = bind(&made_up.host(), &name(), None, &made_up.state()).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }) && !made_up.is_kept());
        assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"));
        text += &format!("{error}\n");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_function_that_a_program_has_open_is_not_taken_from_it() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
    occupy(&made_up, "open");
    let error = unbind(&made_up.host(), &name(), &made_up.state()).unwrap_err().to_string();
    assert!(error.starts_with("failed to unbind 0000:65:00.1: qemu-system-x86 (process 77) has it open"), "{error}");
    assert!(made_up.is_kept());
}

#[test]
fn drivers_that_cannot_be_had_are_said() {
    let refused = |made_up: &MadeUp, driver: Option<&str>| {
        let error = bind(&made_up.host(), &name(), driver, &made_up.state()).unwrap_err().to_string();
        assert!(!made_up.is_kept(), "{error}");
        error.replace(&made_up.root().display().to_string(), "")
    };
    let made_up = MadeUp::new();
    made_up.write(&format!("lib/modules/{RELEASE}/modules.alias"), "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n");
    let mut text = refused(&made_up, None) + "\n";
    made_up.script("modprobe", "echo \"modprobe: FATAL: Module $2 not found\" >&2; exit 1");
    text += &(refused(&made_up, Some("nosuch")) + "\n");
    made_up.script("modprobe", "true");
    text += &(refused(&made_up, Some("loop")) + "\n");
    insta::assert_snapshot!(text);
}

#[test]
fn a_host_that_lacks_nothing_is_ready() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
    let diagnosis = doctor::device(&made_up.host(), &name(), &made_up.state()).unwrap();
    assert!(diagnosis.is_ready(), "{diagnosis}");
    let host = doctor::whole_host(&made_up.host(), &made_up.state());
    assert!(host.is_ready() && host.to_string().contains("unbind 0000:65:00.1"), "{host}");
}

/// All that `doctor` can find, as people read it.
#[test]
fn every_obstacle_says_why_it_matters_and_what_to_type() {
    let mut text = String::new();
    let mut look = |what: &str, prepare: &dyn Fn(&MadeUp)| {
        let made_up = MadeUp::new();
        prepare(&made_up);
        text += &format!("== {what}\n{}\n", made_up.diagnosis());
    };
    look("native driver", &|_| {});
    look("no driver that fits", &|it| it.write(&format!("lib/modules/{RELEASE}/modules.alias"), ""));
    look("plain vfio-pci", &|it| {
        fs::remove_file(it.root().join("sys/devices/pci0").join(FUNCTION).join("driver")).unwrap();
        it.link(&format!("sys/devices/pci0/{FUNCTION}/driver"), "sys/bus/pci/drivers/vfio-pci");
        it.write(&format!("sys/devices/pci0/{FUNCTION}/vfio-dev/vfio0/dev"), "");
    });
    look("shared group", &|it| {
        it.function("0000:65:00.0", Some("mlx5_core"), 12);
        it.function("0000:64:00.0", Some("pcieport"), 12);
    });
    look("in use", &|it| occupy(it, "network"));
    look("old kernel", &|it| it.write("proc/sys/kernel/osrelease", "5.15.0-91-generic\n"));
    look("kernel that hangs", &|it| it.write("proc/sys/kernel/osrelease", "6.12.94+deb13-amd64\n"));
    look("no VFIO", &|it| {
        fs::remove_file(it.root().join("dev/vfio/vfio")).unwrap();
        it.write(&format!("lib/modules/{RELEASE}/modules.dep"), "kernel/drivers/vfio/vfio.ko.xz:\n");
    });
    look("no IOMMU", &|it| {
        fs::remove_dir_all(it.root().join("sys/kernel/iommu_groups")).unwrap();
        fs::remove_file(it.root().join("sys/devices/pci0").join(FUNCTION).join("iommu_group")).unwrap();
    });
    look("little memory to lock, lockdown, huge pages", &|it| {
        it.write("proc/self/status", "CapEff:\t0000000000000000\n");
        it.write("proc/self/limits", "Limit  Soft  Hard  Units\nMax locked memory  65536  65536  bytes\n");
        it.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        it.write("proc/meminfo", "HugePages_Total:       8\n");
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_node_that_this_user_may_not_open_is_an_obstacle() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
    made_up.write("dev/vfio/12", "");
    let host = Host { may_open: |node| !node.ends_with("12"), ..made_up.host() };
    let text = doctor::device(&host, &name(), &made_up.state()).unwrap().to_string();
    assert!(text.contains("obstacle  /dev/vfio/12 may not be opened by this user; "), "{text}");
    assert!(text.contains("sudo chown $USER /dev/vfio/12"), "{text}");
}

#[test]
fn functions_that_could_be_tested_are_listed() {
    let made_up = MadeUp::new();
    let rows = doctor::candidates(&made_up.host()).join("\n");
    assert!(rows.contains(FUNCTION) && rows.contains("vfio-conform bind    # to mlx5_vfio_pci"), "{rows}");
    bind(&made_up.host(), &name(), None, &made_up.state()).unwrap();
    let rows = doctor::candidates(&made_up.host()).join("\n");
    assert!(rows.ends_with("vfio-conform doctor"), "{rows}");
    made_up.write(&format!("lib/modules/{RELEASE}/modules.alias"), "");
    unbind(&made_up.host(), &name(), &made_up.state()).unwrap();
    assert!(doctor::candidates(&made_up.host()).is_empty());
}
