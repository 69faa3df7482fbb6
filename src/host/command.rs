//! `vfio-conform doctor`, `bind` and `unbind`: the command lines.

use std::path::PathBuf;

use clap::Args;

use super::{Host, bind, doctor};
use crate::device::DeviceName;
use crate::device::kernel::before::{DEFAULT, StateFolder};
use crate::harness::verdict::Exit;

/// What `vfio-conform doctor --help` ends with.
pub const DOCTOR_EXAMPLES: &str = "\
Examples:
  vfio-conform doctor                                      the host, and the functions that could be tested
  vfio-conform doctor 0000:65:00.1                         what stands in the way of testing this one
  vfio-conform doctor 0000:65:00.1 && sudo vfio-conform run 0000:65:00.1

Exit codes: 0 ready, 2 not.";

/// What `vfio-conform bind --help` ends with.
pub const BIND_EXAMPLES: &str = "\
Examples:
  sudo vfio-conform bind 0000:65:00.1                      to the variant driver that fits best
  sudo vfio-conform bind 0000:65:00.1 --driver mlx5_vfio_pci

What is in use is refused. What cannot be shown to be idle is refused too, with the reasons, unless --force is given.";

/// What `vfio-conform unbind --help` ends with.
pub const UNBIND_EXAMPLES: &str = "\
Example:
  sudo vfio-conform unbind 0000:65:00.1                    as it was before bind, also after a crash";

type Outcome = Result<Exit, Box<dyn std::error::Error>>;

/// Where the host is, and where the state of functions is kept.
#[derive(Debug, Args)]
struct Place {
    /// Folder in which bind keeps what functions were before
    #[arg(long, value_name = "DIR", default_value = DEFAULT)]
    state: PathBuf,
    /// Where the host's file system begins
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The program that loads modules
    #[arg(long, hide = true, value_name = "PROGRAM", default_value = "modprobe")]
    modprobe: PathBuf,
}

impl Place {
    fn host(&self) -> Host {
        // Links in sysfs are followed, and end below the root as it really is called.
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        Host { modprobe: self.modprobe.clone(), ..Host::at(&root) }
    }

    fn state(&self) -> StateFolder {
        StateFolder::at(&self.state)
    }
}

/// What is asked about a host.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    /// PCI address, mdev UUID, group number or vfioN [default: only the host]
    device: Option<DeviceName>,
    #[command(flatten)]
    place: Place,
}

/// Which function is bound, and to what.
#[derive(Debug, Args)]
pub struct BindCommand {
    /// PCI address of the function
    device: DeviceName,
    /// Bind a function that is not in use as far as is seen, but that cannot be shown to be idle
    #[arg(long)]
    force: bool,
    /// The driver, or its module [default: that whose vfio_pci alias fits the function best]
    #[arg(long, value_name = "NAME")]
    driver: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Which function is put back.
#[derive(Debug, Args)]
pub struct UnbindCommand {
    /// PCI address of the function
    device: DeviceName,
    /// Take a function from a driver that cannot be shown to be idle
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

impl DoctorCommand {
    /// Looks, and says what was seen.
    ///
    /// # Errors
    /// That there is no such device.
    pub fn run(&self) -> Outcome {
        let (host, state) = (self.place.host(), self.place.state());
        let (diagnosis, candidates) = match &self.device {
            Some(device) => (doctor::device(&host, doctor::kernel_name(device)?, &state)?, None),
            None => (doctor::whole_host(&host, &state), Some(doctor::candidates(&host))),
        };
        print!("{diagnosis}");
        match candidates.as_deref() {
            Some([]) => println!("\nno function has a VFIO driver or a module that is one for it"),
            Some(rows) => println!("\n{}", rows.join("\n")),
            None => {}
        }
        let ready = diagnosis.is_ready();
        match (ready, &self.device) {
            (true, Some(device)) => println!("\nready: sudo vfio-conform run {device}"),
            (true, None) => println!("\nready: name a function to see whether it can be tested"),
            (false, _) => println!("\nnot ready"),
        }
        Ok(if ready { Exit::Conforms } else { Exit::Usage })
    }
}

impl BindCommand {
    /// Does it.
    ///
    /// # Errors
    /// Why it is not bound.
    pub fn run(&self) -> Outcome {
        let name = doctor::kernel_name(&self.device)?;
        println!("{}", bind::bind(&self.place.host(), name, self.driver.as_deref(), &self.place.state(), self.force)?);
        Ok(Exit::Conforms)
    }
}

impl UnbindCommand {
    /// Does it.
    ///
    /// # Errors
    /// Why it is not as it was.
    pub fn run(&self) -> Outcome {
        let name = doctor::kernel_name(&self.device)?;
        println!("{}", bind::unbind(&self.place.host(), name, &self.place.state(), self.force)?);
        Ok(Exit::Conforms)
    }
}
