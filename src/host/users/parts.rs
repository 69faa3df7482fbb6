//! What a function's driver has made: the devices below the function in sysfs.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Host, read};
use crate::device::kernel::sysfs::{self, Found};

/// Deeper than this no driver puts a device.
const DEPTH: usize = 24;

/// A device below a function.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its folder, with no link in it.
    pub path: PathBuf,
    /// Its name in sysfs.
    pub name: String,
    /// Its class or bus.
    pub class: String,
    /// `major:minor` of its node.
    pub number: Option<String>,
    /// The driver that it is bound to, if it is on a bus.
    pub driver: Option<String>,
}

impl Part {
    /// The name of its node below `/dev`.
    pub fn node(&self) -> String {
        let event = read(&self.path.join("uevent")).unwrap_or_default();
        let named = event.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(str::to_owned);
        named.unwrap_or_else(|| self.name.replace('!', "/"))
    }
}

/// All devices below a function.
#[derive(Debug, Default)]
pub struct Parts {
    /// In the order of their paths.
    pub all: Vec<Part>,
    /// Whether there is a network interface that this namespace does not show: its folder is there, and seems empty.
    pub has_hidden_interface: bool,
}

impl Parts {
    /// Those of a function.
    pub fn of(host: &Host, found: &Found) -> Parts {
        let mut parts = Parts::default();
        parts.walk(&found.path, DEPTH);
        parts.add_shared_namespaces(host);
        parts
    }

    /// Those of a class.
    pub fn of_class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Part> {
        self.all.iter().filter(move |part| part.class == class)
    }

    /// Those below another one.
    pub fn below<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a Part> {
        self.all.iter().filter(move |other| other.path != part.path && other.path.starts_with(&part.path))
    }

    fn walk(&mut self, folder: &Path, depth: usize) {
        for path in folders(folder) {
            let class = sysfs::link_name(&path.join("subsystem"));
            let is_leaf = matches!(class.as_deref(), Some("net" | "pci"));
            match class {
                Some(class) => self.all.push(Part {
                    name: sysfs::file_name(&path),
                    number: read(&path.join("dev")),
                    driver: sysfs::link_name(&path.join("driver")),
                    class,
                    path: path.clone(),
                }),
                None if path.ends_with("net") && sysfs::entries(&path).is_empty() => self.has_hidden_interface = true,
                None => {}
            }
            if !is_leaf && depth > 0 {
                self.walk(&path, depth - 1);
            }
        }
    }

    /// An NVMe drive that several controllers may reach is not below any of them.
    fn add_shared_namespaces(&mut self, host: &Host) {
        let controllers: Vec<String> = self.of_class("nvme").map(|part| part.name.clone()).collect();
        for subsystem in host.entries("sys/class/nvme-subsystem") {
            let folder = host.path("sys/class/nvme-subsystem").join(subsystem);
            if let (true, Ok(folder)) =
                (controllers.iter().any(|name| folder.join(name).exists()), folder.canonicalize())
            {
                self.walk(&folder, DEPTH);
            }
        }
    }
}

/// The folders in a folder, links left out.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut folders: Vec<PathBuf> = entries.flatten().filter(is_folder).map(|entry| entry.path()).collect();
    folders.sort();
    folders
}
