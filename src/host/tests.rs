//! A host that is made up in a folder, with a kernel that does what attributes of sysfs ask for.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::bind::{BindError, bind, unbind};
use super::doctor;
use super::{Claim, Host};
use crate::device::KernelName;
use crate::device::kernel::before::{Before, By, StateFolder};
use crate::device::kernel::sysfs;

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
        // A driver with nothing to show could not be shown to be idle.
        made_up.part("net/eth7", "net", &[("flags", "0x1002\n")]);
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

    /// A device that the function's driver has made, with these attributes.
    fn part(&self, path: &str, class: &str, attributes: &[(&str, &str)]) {
        let folder = format!("sys/devices/pci0/{FUNCTION}/{path}");
        fs::create_dir_all(self.root().join(&folder)).unwrap();
        for (name, text) in attributes {
            self.write(&format!("{folder}/{name}"), text);
        }
        if !self.root().join(&folder).join("subsystem").exists() {
            self.link(&format!("{folder}/subsystem"), &format!("sys/class/{class}"));
            fs::create_dir_all(self.root().join("sys/class").join(class)).unwrap();
        }
    }

    /// A process that has this open.
    fn process(&self, path: &str) {
        self.write("proc/77/comm", "qemu-system-x86\n");
        fs::create_dir_all(self.root().join("proc/77/fd")).unwrap();
        symlink(path, self.root().join("proc/77/fd/9")).unwrap();
    }

    /// The host, with a kernel in which every driver takes what it is given.
    fn host(&self) -> Host {
        self.with_kernel(|_| true)
    }

    /// A host in whose kernel a driver takes a function only if this says so.
    fn with_kernel(&self, takes: impl Fn(&str) -> bool + 'static) -> Host {
        let root = self.root();
        let write = move |path: &Path, text: &str| obey(&root, path, text, &takes);
        let modprobe = self.root().join("modprobe");
        Host { write: Box::new(write), modprobe, claim: |_| Claim::Free, ..Host::at(&self.root()) }
    }

    fn state(&self) -> StateFolder {
        StateFolder::at(&self.root().join("run/vfio-conform"))
    }

    fn attribute(&self, name: &str) -> String {
        fs::read_to_string(self.root().join("sys/bus/pci/devices").join(FUNCTION).join(name)).unwrap()
    }

    fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.root().join("sys/bus/pci/devices").join(FUNCTION).join("driver"));
        link.ok().map(|target| target.file_name().unwrap().to_string_lossy().into_owned())
    }

    fn is_kept(&self) -> bool {
        self.root().join("run/vfio-conform").join(format!("{FUNCTION}.json")).exists()
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
    let told = bind(&host, &name(), None, &made_up.state(), false).unwrap();
    assert!(told.starts_with("0000:65:00.1 is bound to mlx5_vfio_pci\n"), "{told}");
    assert_eq!(made_up.driver().as_deref(), Some("mlx5_vfio_pci"));
    assert!(made_up.diagnosis().contains("vfio-conform bound 0000:65:00.1; it had the driver mlx5_core"));
    let again = bind(&host, &name(), None, &made_up.state(), false).unwrap();
    assert_eq!(again, "0000:65:00.1 is bound to mlx5_vfio_pci already");

    assert_eq!(unbind(&host, &name(), &made_up.state(), false).unwrap(), "0000:65:00.1 has the driver mlx5_core again");
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));
    assert_eq!(made_up.attribute("driver_override"), "\n");
    let again = unbind(&host, &name(), &made_up.state(), false).unwrap();
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
            bind(&dying, &name(), None, &made_up.state(), false).unwrap_err();
            assert!(made_up.is_kept(), "after {survives} writes");
            if goes_on {
                bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
                assert_eq!(made_up.driver().as_deref(), Some("mlx5_vfio_pci"));
            }
            unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap();
            assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"), "after {survives} writes");
            assert!(!made_up.is_kept());
        }
    }
}

#[test]
fn a_driver_that_refuses_leaves_things_as_they_were() {
    let made_up = MadeUp::new();
    let host = made_up.with_kernel(|driver| driver == "mlx5_core");
    let error = bind(&host, &name(), None, &made_up.state(), false).unwrap_err().to_string();
    assert!(error.ends_with("dmesg says why; it was put back as it was"), "{error}");
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));
}

#[test]
fn what_was_kept_in_an_earlier_boot_is_forgotten() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
    made_up.write("proc/sys/kernel/random/boot_id", "two\n");
    let told = unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap();
    assert!(told.ends_with("nothing to put back"), "{told}");
    assert!(!made_up.is_kept());
}

#[test]
fn a_function_without_a_driver_is_put_back_to_none() {
    let made_up = MadeUp::new();
    fs::remove_file(made_up.root().join("sys/devices/pci0").join(FUNCTION).join("driver")).unwrap();
    bind(&made_up.host(), &name(), Some("mlx5_vfio_pci"), &made_up.state(), false).unwrap();
    assert_eq!(unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap(), "0000:65:00.1 has no driver again");
    assert_eq!(made_up.driver(), None);
}

const DISK: &str = "nvme/nvme0/nvme0n1";

/// Every use that can be seen.
const USES: [&str; 27] = [
    "mounted",
    "mounted partition",
    "second disk of btrfs",
    "swap on a partition",
    "device mapper",
    "loop",
    "exported",
    "shared drive",
    "raw-open",
    "open in a container",
    "network",
    "bridge port",
    "other namespace",
    "functions",
    "bridge",
    "mediated",
    "console",
    "boot display",
    "screen",
    "watchdog",
    "dma",
    "rdma",
    "node",
    "register",
    "mapped",
    "group",
    "generic",
];

/// Puts somebody on the function who uses it.
fn occupy(made_up: &MadeUp, how: &str) {
    let function = format!("sys/devices/pci0/{FUNCTION}");
    let disk = || made_up.part(DISK, "block", &[("dev", "259:0\n")]);
    let partition = || {
        disk();
        made_up.part(&format!("{DISK}/nvme0n1p2"), "block", &[("dev", "259:2\n")]);
    };
    match how {
        "mounted" => {
            disk();
            made_up.write("proc/self/mountinfo", "22 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n");
        }
        "mounted partition" => {
            partition();
            made_up.write("proc/self/mountinfo", "22 1 259:2 / /srv rw - ext4 /dev/nvme0n1p2 rw\n");
        }
        "second disk of btrfs" => {
            disk();
            made_up.write("proc/self/mountinfo", "22 1 0:40 / /srv rw - btrfs /dev/sda rw\n");
            made_up.write("sys/fs/btrfs/5c1e/devices/nvme0n1/x", "");
        }
        "swap on a partition" => {
            partition();
            made_up.write("proc/swaps", "Filename Type\n/dev/nvme0n1p2 partition\n");
        }
        "device mapper" => {
            disk();
            made_up.write(&format!("{function}/{DISK}/holders/dm-0"), "");
        }
        "loop" => {
            partition();
            made_up.write("sys/block/loop3/loop/backing_file", "/dev/nvme0n1p2\n");
        }
        "exported" => {
            disk();
            made_up.write("sys/kernel/config/nvmet/subsystems/vm/namespaces/1/device_path", "/dev/nvme0n1\n");
        }
        "shared drive" => {
            made_up.part("nvme/nvme0", "nvme", &[("dev", "240:0\n")]);
            made_up.write("sys/class/nvme-subsystem/nvme-subsys0/nvme0n1/dev", "259:0\n");
            made_up.link("sys/class/nvme-subsystem/nvme-subsys0/nvme0n1/subsystem", "sys/class/block");
            made_up.link("sys/class/nvme-subsystem/nvme-subsys0/nvme0", &format!("{function}/nvme/nvme0"));
            made_up.write("proc/self/mountinfo", "22 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n");
        }
        "raw-open" => {
            disk();
            made_up.process("/dev/nvme0n1");
        }
        // Another name, and the same number.
        "open in a container" => {
            made_up.part("nvme/nvme0", "nvme", &[("dev", "1:3\n")]);
            made_up.process("/dev/null");
        }
        "network" => made_up.part("net/eth7", "net", &[("flags", "0x1003\n")]),
        "bridge port" => made_up.link(&format!("{function}/net/eth7/master"), "sys/class/net/br0"),
        "other namespace" => fs::remove_dir_all(made_up.root().join(&function).join("net/eth7")).unwrap(),
        "functions" => made_up.write(&format!("{function}/sriov_numvfs"), "2\n"),
        "bridge" => {
            made_up.write(&format!("{function}/class"), "0x060400\n");
            made_up.part("0000:66:00.0", "pci", &[]);
        }
        "mediated" => made_up.part("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "mdev", &[]),
        "console" => {
            made_up.part("tty/ttyS4", "tty", &[("dev", "4:68\n")]);
            made_up.write("sys/class/tty/console/active", "tty0 ttyS4\n");
        }
        "boot display" => made_up.write(&format!("{function}/boot_vga"), "1\n"),
        "screen" => made_up.part("drm/card0/card0-DP-1", "drm", &[("enabled", "enabled\n")]),
        "watchdog" => made_up.part("watchdog/watchdog0", "watchdog", &[("dev", "10:130\n"), ("state", "active\n")]),
        "dma" => made_up.part("dma/dma0chan0", "dma", &[("in_use", "1\n")]),
        "rdma" => made_up.part("infiniband/mlx5_0", "infiniband", &[("ports/1/state", "4: ACTIVE\n")]),
        "node" => {
            made_up.part("input/input3/event3", "input", &[("dev", "13:67\n"), ("uevent", "DEVNAME=input/event3\n")]);
            made_up.process("/dev/input/event3");
        }
        "register" => made_up.process(&format!("/sys/devices/pci0/{FUNCTION}/resource0")),
        "mapped" => {
            made_up.process("/dev/zero");
            let map = format!("7f00-7f10 rw-s 00000000 00:15 99  /sys/devices/pci0/{FUNCTION}/resource2\n");
            made_up.write("proc/77/maps", &map);
        }
        "group" => made_up.process("/dev/vfio/12"),
        "generic" => {
            made_up.part("nvme/nvme0/ng0n1", "nvme-generic", &[("dev", "241:0\n")]);
            made_up.process("/dev/ng0n1");
        }
        _ => panic!("{how}"),
    }
}

#[test]
fn what_is_in_use_is_refused_with_its_user() {
    let mut text = String::new();
    for how in USES {
        for is_forced in [false, true] {
            let made_up = MadeUp::new();
            occupy(&made_up, how);
            let error = bind(&made_up.host(), &name(), None, &made_up.state(), is_forced).unwrap_err();
            assert!(matches!(error, BindError::InUse { .. }) && !made_up.is_kept(), "{how}: {error}");
            assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"));
            let diagnosis = made_up.diagnosis();
            let BindError::InUse { users, .. } = &error else { unreachable!() };
            assert!(users.iter().all(|user| diagnosis.contains(&user.to_string())), "{how}: {diagnosis}");
            if !is_forced {
                text += &format!("== {how}\n{error}\n");
            }
        }
    }
    insta::assert_snapshot!(text);
}

/// ZFS, mounts of another namespace, exclusive programs: what claims a block device says so to nobody else.
#[test]
fn claimed_block_device_is_refused_by_its_smallest_part() {
    let made_up = MadeUp::new();
    made_up.part(DISK, "block", &[("dev", "259:0\n")]);
    made_up.part(&format!("{DISK}/nvme0n1p1"), "block", &[("dev", "259:1\n")]);
    made_up.part(&format!("{DISK}/nvme0n1p2"), "block", &[("dev", "259:2\n")]);
    // A disk is claimed with each of its partitions.
    let claim = |node: &Path| if node.ends_with("nvme0n1p1") { Claim::Free } else { Claim::Held };
    let host = Host { claim, ..made_up.host() };
    let error = bind(&host, &name(), None, &made_up.state(), true).unwrap_err().to_string();
    let said = "failed to bind 0000:65:00.1: nvme0n1p2 is claimed by the kernel or by a program for itself alone\n";
    assert!(error.starts_with(said), "{error}");
    assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"));
}

#[test]
fn a_block_device_is_claimed_by_who_has_it_alone() {
    assert_eq!(super::claim(Path::new("/dev/null")), Claim::Free);
    assert!(matches!(super::claim(Path::new("/dev/no-such-disk")), Claim::Unknown(_)));
}

#[test]
fn what_cannot_be_shown_to_be_idle_is_refused_unless_forced() {
    let mut text = String::new();
    for how in ["driver", "class", "virtio", "block", "container", "group"] {
        let made_up = MadeUp::new();
        match how {
            "driver" => fs::remove_dir_all(made_up.root().join("sys/devices/pci0").join(FUNCTION).join("net")).unwrap(),
            "class" => made_up.part("bluetooth/hci0", "bluetooth", &[]),
            "virtio" => {
                made_up.part("virtio3", "virtio", &[]);
                made_up
                    .link(&format!("sys/devices/pci0/{FUNCTION}/virtio3/driver"), "sys/bus/virtio/drivers/virtio_rng");
            }
            "block" => made_up.part(DISK, "block", &[("dev", "259:0\n")]),
            "container" => {
                made_up.part("nvme/nvme0", "nvme", &[("dev", "240:0\n")]);
                fs::create_dir_all(made_up.root().join("proc/self/ns")).unwrap();
                symlink("pid:[4026532000]", made_up.root().join("proc/self/ns/pid")).unwrap();
            }
            "group" => made_up.function("0000:65:00.0", Some("mlx5_core"), 12),
            _ => panic!("{how}"),
        }
        let host = Host { claim: |_| Claim::Unknown("/dev/nvme0n1: no such file".to_owned()), ..made_up.host() };
        let error = bind(&host, &name(), None, &made_up.state(), false).unwrap_err();
        assert!(matches!(error, BindError::NotIdle { .. }) && !made_up.is_kept(), "{how}: {error}");
        assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"));
        let diagnosis = doctor::device(&host, &name(), &made_up.state()).unwrap();
        assert!(!diagnosis.is_ready());
        text += &format!("== {how}\n{error}\n");
        let told = bind(&host, &name(), None, &made_up.state(), true).unwrap();
        assert_eq!(made_up.driver().as_deref(), Some("mlx5_vfio_pci"));
        text += &format!("-- forced\n{told}\n");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn group_number_is_refused_before_anything_is_touched() {
    let made_up = MadeUp::new();
    let group = KernelName::Group(12);
    for is_forced in [false, true] {
        let error = bind(&made_up.host(), &group, None, &made_up.state(), is_forced).unwrap_err().to_string();
        let said = "failed to bind 12: it is the number of an IOMMU group, which holds 0000:65:00.1 (mlx5_core)\n";
        assert!(error.starts_with(said), "{error}");
        let error = unbind(&made_up.host(), &group, &made_up.state(), is_forced).unwrap_err().to_string();
        assert!(error.starts_with("failed to unbind 12: "), "{error}");
    }
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));

    let error = sysfs::find_to_open(&made_up.root(), &group).unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to open 12: 12 is the number of an IOMMU group, whose device 0000:65:00.1 is bound to mlx5_core, which is no \
         VFIO driver\n    name a device by its address; vfio-conform doctor    # lists those that can be tested\n    \
         vfio-conform doctor 0000:65:00.1    # shows what this one is, and who uses it"
    );
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
    assert_eq!(sysfs::find_to_open(&made_up.root(), &group).unwrap().name, FUNCTION);
    made_up.function("0000:65:00.2", Some("pcieport"), 12);
    let error = sysfs::find_to_open(&made_up.root(), &group).unwrap_err().to_string();
    assert!(error.contains("0000:65:00.1 (mlx5_vfio_pci), 0000:65:00.2 (pcieport)"), "{error}");
}

/// A check unbinds the function and binds it again; the run is killed between the two.
#[test]
fn function_that_a_killed_run_left_without_driver_is_put_back() {
    let made_up = MadeUp::new();
    let found = sysfs::find_in(&made_up.root(), &name()).unwrap();
    made_up.state().keep(&Before::of(&found, By::Run)).unwrap();
    assert!(!made_up.diagnosis().contains("killed"), "it has its driver");
    fs::remove_file(made_up.root().join("sys/devices/pci0").join(FUNCTION).join("driver")).unwrap();
    let diagnosis = made_up.diagnosis();
    let said =
        "a run that was killed took 0000:65:00.1 from the driver mlx5_core: sudo vfio-conform unbind 0000:65:00.1";
    assert!(diagnosis.contains(said), "{diagnosis}");
    let told = unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap();
    assert_eq!(told, "0000:65:00.1 has the driver mlx5_core again");
    assert_eq!((made_up.driver().as_deref(), made_up.is_kept()), (Some("mlx5_core"), false));
}

/// What a run left on disk, and what has been undone since, is not what `bind` begins with.
#[test]
fn bind_does_not_go_by_what_an_old_run_wrote_down() {
    let made_up = MadeUp::new();
    let found = sysfs::find_in(&made_up.root(), &name()).unwrap();
    let old = Before { driver: Some("pcieport".to_owned()), ..Before::of(&found, By::Run) };
    made_up.state().keep(&old).unwrap();
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
    unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap();
    assert_eq!(made_up.driver().as_deref(), Some("mlx5_core"));
}

#[test]
fn a_function_that_a_program_has_open_is_not_taken_from_it() {
    let made_up = MadeUp::new();
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
    occupy(&made_up, "group");
    let error = unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap_err().to_string();
    assert!(
        error.starts_with("failed to unbind 0000:65:00.1: qemu-system-x86 (process 77) has /dev/vfio/12 open"),
        "{error}"
    );
    assert!(made_up.is_kept());
}

#[test]
fn drivers_that_cannot_be_had_are_said() {
    let refused = |made_up: &MadeUp, driver: Option<&str>| {
        let error = bind(&made_up.host(), &name(), driver, &made_up.state(), false).unwrap_err().to_string();
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
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
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
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
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
    bind(&made_up.host(), &name(), None, &made_up.state(), false).unwrap();
    let rows = doctor::candidates(&made_up.host()).join("\n");
    assert!(rows.ends_with("vfio-conform doctor"), "{rows}");
    made_up.write(&format!("lib/modules/{RELEASE}/modules.alias"), "");
    unbind(&made_up.host(), &name(), &made_up.state(), false).unwrap();
    assert!(doctor::candidates(&made_up.host()).is_empty());
}
