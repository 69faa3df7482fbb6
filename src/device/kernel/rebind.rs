//! Taking a PCI function away from its driver and giving it back, as `unbind` and `bind` of sysfs do. Which driver that was
//! is on disk meanwhile, so that a run that is killed here leaves a function that can be put back.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::before::{Before, By, StateFolder, boot};
use super::sysfs::Found;
use crate::device::{OpenError, OpenFailure, RebindError};

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

    /// Writes down which driver the device has, then takes it away. Nobody may have it open.
    ///
    /// # Errors
    /// That it cannot be written down, or what the kernel answered; the driver has it still.
    pub(super) fn take_away(&self, found: &Found) -> Result<(), RebindError> {
        let folder = StateFolder::of(found);
        let not_allowed = |_| RebindError::NotAllowed(folder.file(&found.name));
        let kept = folder.read(&found.name, &boot(&found.root)).map_err(not_allowed)?;
        // What `bind` wrote down is what the function was in the beginning, and is to be again in the end.
        if kept.is_none_or(|before| before.by == By::Run) {
            folder.keep(&Before::of(found, By::Run)).map_err(not_allowed)?;
        }
        self.write(&self.unbind, found)
    }

    /// Gives the device back.
    ///
    /// # Errors
    /// What the kernel answered; it is bound to nothing then.
    pub(super) fn give_back(&self, found: &Found) -> Result<(), RebindError> {
        self.write(&self.bind, found)?;
        let folder = StateFolder::of(found);
        let kept = folder.read(&found.name, &boot(&found.root)).ok().flatten();
        if kept.is_some_and(|before| before.by == By::Run) {
            // One that stays says that the function has the driver that it has.
            let _ = folder.forget(&found.name);
        }
        Ok(())
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

/// Gives a function back to the driver that a killed run left it without. One that no run left so stays as it is.
///
/// # Errors
/// That the function is gone.
pub(super) fn put_back(found: Found) -> Result<Found, OpenError> {
    let Some(driver) = Before::driver_lost_by_a_run(&found) else {
        return Ok(found);
    };
    let folder = found.root.join("sys/bus/pci/drivers").join(driver);
    let driver = Driver { unbind: folder.join("unbind"), bind: folder.join("bind") };
    // A driver that refuses it leaves it without one, which is said when it is opened.
    let _ = driver.give_back(&found);
    found.again()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::device::KernelName;
    use crate::device::kernel::sysfs;

    const DEVICE: &str = "sys/bus/pci/devices/0000:01:00.0";
    const DRIVER: &str = "sys/bus/pci/drivers/some_vfio_pci";

    /// A PCI function that a driver has.
    fn bound_function() -> Result<(tempfile::TempDir, Found), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let (device, folder) = (root.path().join(DEVICE), root.path().join(DRIVER));
        fs::create_dir_all(&device)?;
        fs::create_dir_all(&folder)?;
        fs::write(device.join("vendor"), "0x1234\n")?;
        symlink("../../drivers/some_vfio_pci", device.join("driver"))?;
        for attribute in ["unbind", "bind"] {
            fs::write(folder.join(attribute), "")?;
        }
        let found = sysfs::find_in(root.path(), &KernelName::Pci("0000:01:00.0".to_owned()))?;
        Ok((root, found))
    }

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
        let kept = StateFolder::of(&found).file(&found.name);
        driver.take_away(&found)?;
        assert!(kept.exists(), "it is not known which driver the function had");
        assert_eq!(fs::read_to_string(folder.join("unbind"))?, "0000:01:00.0");
        assert_eq!(fs::read_to_string(folder.join("bind"))?, "");
        driver.give_back(&found)?;
        assert_eq!(fs::read_to_string(folder.join("bind"))?, "0000:01:00.0");
        assert!(!kept.exists());
        Ok(())
    }

    #[test]
    fn function_left_without_a_driver_by_a_killed_run_is_given_back() -> Result<(), Box<dyn std::error::Error>> {
        let (root, found) = bound_function()?;
        let device = root.path().join(DEVICE);
        let folder = root.path().join(DRIVER);
        Driver::of(&found)?.take_away(&found)?;
        // Killed here: the kernel has taken it away.
        fs::remove_file(device.join("driver"))?;
        let found = found.again()?;
        assert_eq!(Before::driver_lost_by_a_run(&found).as_deref(), Some("some_vfio_pci"));
        let remedy = found.failed(OpenFailure::WrongDriver(None)).to_string();
        assert!(remedy.contains("sudo vfio-conform unbind 0000:01:00.0"), "{remedy}");
        put_back(found.clone())?;
        assert_eq!(fs::read_to_string(folder.join("bind"))?, "0000:01:00.0");
        assert_eq!(Before::driver_lost_by_a_run(&found), None);
        Ok(())
    }

    #[test]
    fn what_bind_wrote_down_outlives_the_checks_that_unbind() -> Result<(), Box<dyn std::error::Error>> {
        let (_root, found) = bound_function()?;
        let native = Before { driver: Some("native".to_owned()), ..Before::of(&found, By::Bind) };
        StateFolder::of(&found).keep(&native)?;
        let driver = Driver::of(&found)?;
        driver.take_away(&found)?;
        driver.give_back(&found)?;
        assert_eq!(StateFolder::of(&found).read(&found.name, &native.boot)?, Some(native));
        Ok(())
    }
}
