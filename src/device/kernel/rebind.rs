//! Taking a PCI function away from its driver and giving it back, as `unbind` and `bind` of sysfs do.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::sysfs::Found;
use crate::device::{OpenFailure, RebindError};

/// The driver of a device, which is known while it is bound.
#[derive(Debug)]
pub(super) struct Driver {
    unbind: PathBuf,
    bind: PathBuf,
}

impl Driver {
    /// The driver that has the device now. It is known by then whether this user may take the device away.
    ///
    /// # Errors
    /// That there is none, that this user may not, or that it would not come back.
    pub(super) fn of(found: &Found) -> Result<Driver, RebindError> {
        // The bus of mdevs matches no driver with a device, so that what was unbound there stays so.
        if !found.is_pci() {
            return Err(RebindError::NotByHand);
        }
        let folder = found.path.join("driver").canonicalize();
        let folder = folder.map_err(|_| found.failed(OpenFailure::WrongDriver(None)))?;
        let driver = Driver { unbind: folder.join("unbind"), bind: folder.join("bind") };
        for attribute in [&driver.unbind, &driver.bind] {
            if OpenOptions::new().write(true).open(attribute).is_err() {
                return Err(RebindError::NotAllowed(attribute.clone()));
            }
        }
        Ok(driver)
    }

    /// Takes the device away. Nobody may have it open.
    ///
    /// # Errors
    /// What the kernel answered; the driver has it still.
    pub(super) fn take_away(&self, found: &Found) -> Result<(), RebindError> {
        self.write(&self.unbind, found)
    }

    /// Gives the device back.
    ///
    /// # Errors
    /// What the kernel answered; it is bound to nothing then.
    pub(super) fn give_back(&self, found: &Found) -> Result<(), RebindError> {
        self.write(&self.bind, found)
    }

    fn write(&self, attribute: &Path, found: &Found) -> Result<(), RebindError> {
        let written =
            OpenOptions::new().write(true).open(attribute).and_then(|mut file| file.write_all(found.name.as_bytes()));
        written.map_err(|why| match why.kind() {
            ErrorKind::PermissionDenied => RebindError::NotAllowed(attribute.to_owned()),
            _ => RebindError::Refused {
                device: found.name.clone(),
                path: attribute.to_owned(),
                why,
                bind: self.bind.clone(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::device::KernelName;
    use crate::device::kernel::sysfs;

    #[test]
    fn the_driver_is_the_one_that_has_the_device() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let device = root.path().join("sys/bus/pci/devices/0000:01:00.0");
        let folder = root.path().join("sys/bus/pci/drivers/some_vfio_pci");
        fs::create_dir_all(&device)?;
        fs::create_dir_all(&folder)?;
        fs::create_dir(device.join("vendor"))?;
        let found = sysfs::find_in(root.path(), &KernelName::Pci("0000:01:00.0".to_owned()))?;
        let mdev = Driver::of(&found).expect_err("it is no PCI function");
        assert!(matches!(mdev, RebindError::NotByHand), "{mdev}");

        fs::remove_dir(device.join("vendor"))?;
        fs::write(device.join("vendor"), "0x1234\n")?;
        let unbound = Driver::of(&found).expect_err("it is bound to nothing");
        assert!(unbound.to_string().contains("it is bound to no driver"), "{unbound}");

        symlink("../../drivers/some_vfio_pci", device.join("driver"))?;
        let closed = Driver::of(&found).expect_err("there is nothing to write to");
        assert!(closed.to_string().ends_with("some_vfio_pci/unbind"), "{closed}");

        for attribute in ["unbind", "bind"] {
            fs::write(folder.join(attribute), "")?;
        }
        let driver = Driver::of(&found)?;
        driver.take_away(&found)?;
        assert_eq!(fs::read_to_string(folder.join("unbind"))?, "0000:01:00.0");
        assert_eq!(fs::read_to_string(folder.join("bind"))?, "");
        driver.give_back(&found)?;
        assert_eq!(fs::read_to_string(folder.join("bind"))?, "0000:01:00.0");
        Ok(())
    }
}
