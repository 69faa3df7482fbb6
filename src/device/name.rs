//! How a user names a device, and the way to open it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::device::model::ModelSpec;

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Through its group and a type1 container.
    Group,
    /// Through its own character device and an iommufd.
    Cdev,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Via::Group => "group",
            Via::Cdev => "cdev",
        })
    }
}

/// A device as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceName {
    /// The in-process model.
    Model(ModelSpec),
    /// A device of the kernel.
    Kernel(KernelName),
}

/// A device of the kernel as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelName {
    /// `0000:65:00.1`.
    Pci(String),
    /// The UUID of a mediated device.
    Mdev(String),
    /// The only device of a group.
    Group(u32),
    /// `vfio3`, as sysfs and `/dev/vfio/devices` call it.
    Cdev(String),
}

/// A name that is none of a device's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the device name {0:?}: {1}\n    \
     a device is a PCI address (0000:65:00.1), an mdev UUID, a group number (12), vfioN, \
     or model[:CAPABILITIES[,fault=NAME]]"
)]
pub struct ParseDeviceNameError(String, String);

impl FromStr for DeviceName {
    type Err = ParseDeviceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| ParseDeviceNameError(text.to_owned(), why.to_owned());
        if text == "model" {
            return Ok(DeviceName::Model(ModelSpec::default()));
        }
        if let Some(spec) = text.strip_prefix("model:") {
            return ModelSpec::parse(spec).map(DeviceName::Model).map_err(|why| refuse(&why));
        }
        KernelName::parse(text).map(DeviceName::Kernel).ok_or_else(|| refuse("it has none of the known forms"))
    }
}

impl DeviceName {
    /// Whether it is the model, which neither needs nor can wedge a host.
    pub fn is_model(&self) -> bool {
        matches!(self, DeviceName::Model(_))
    }
}

impl KernelName {
    fn parse(text: &str) -> Option<KernelName> {
        if let Ok(group) = text.parse::<u32>() {
            return Some(KernelName::Group(group));
        }
        if let Some(address) = pci_address(text) {
            return Some(KernelName::Pci(address));
        }
        if is_uuid(text) {
            return Some(KernelName::Mdev(text.to_ascii_lowercase()));
        }
        let number = text.strip_prefix("vfio")?;
        (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then(|| KernelName::Cdev(text.to_owned()))
    }
}

/// The full form of a PCI address; the domain may be left out.
fn pci_address(text: &str) -> Option<String> {
    let (head, function) = text.rsplit_once('.')?;
    let fields: Vec<&str> = head.split(':').collect();
    let (domain, bus, device) = match fields[..] {
        [bus, device] => ("0000", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let is_hex = |field: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&field.len()) && field.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let valid = is_hex(domain, 4..=8)
        && is_hex(bus, 2..=2)
        && is_hex(device, 2..=2)
        && matches!(function.as_bytes(), [b'0'..=b'7']);
    valid.then(|| format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelName::Pci(name) | KernelName::Mdev(name) | KernelName::Cdev(name) => f.write_str(name),
            KernelName::Group(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Model(spec) => write!(f, "model:{spec}"),
            DeviceName::Kernel(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(text: &str) -> Option<KernelName> {
        match text.parse() {
            Ok(DeviceName::Kernel(name)) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn every_documented_form_is_read() {
        let pci = KernelName::Pci("0000:65:00.1".into());
        assert_eq!(kernel("0000:65:00.1"), Some(pci.clone()));
        assert_eq!(kernel("65:00.1"), Some(pci));
        assert_eq!(kernel("12"), Some(KernelName::Group(12)));
        assert_eq!(kernel("vfio3"), Some(KernelName::Cdev("vfio3".into())));
        let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
        assert_eq!(kernel(uuid), Some(KernelName::Mdev(uuid.into())));
        assert!("model".parse().is_ok_and(|name: DeviceName| name.is_model()));
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused_with_the_forms() {
        for text in ["", "vfio", "0000:65:00.9", "../../etc", "eth0", "65:00"] {
            let error = text.parse::<DeviceName>().unwrap_err().to_string();
            assert!(error.contains("PCI address"), "{error}");
        }
    }
}
