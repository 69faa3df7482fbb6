//! Devices side by side: they run checks at the same time, each another one, so that a driver that mixes up what belongs
//! to one device with what belongs to another is seen.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::incident::Incident;
use super::journal::LabReady;
use super::keeper::{ExecutorSpec, Keeper};
use super::kernel_log::Told;
use super::verdict::Verdict;
use super::wire::Done;

/// What happens on a device.
#[derive(Debug)]
pub enum News {
    /// A check is over on the device of this number.
    Over(usize, Box<Done>),
    /// Something went wrong while no check ran.
    Incident(Box<Incident>),
}

/// Who hears of it.
pub type Report = dyn Fn(News) + Send + Sync;

/// A keeper for each device, in a thread of its own: an executor ends with the thread that started it.
#[derive(Debug)]
pub struct Keepers {
    threads: Vec<Orders>,
}

/// The way to the thread of a device.
#[derive(Debug)]
struct Orders {
    to: Sender<Order>,
    opened: Receiver<Result<LabReady, String>>,
}

enum Order {
    Open,
    Close,
    Run(String),
}

impl Keepers {
    /// Keepers for these devices, of which there must be one. Results go to `report`; what was told of the kernel's log is
    /// in `told`.
    ///
    /// # Errors
    /// That there is none, or why a keeper cannot be made.
    pub fn new(
        specs: Vec<ExecutorSpec>,
        told: &Arc<Told>,
        make: impl Fn(usize, ExecutorSpec) -> std::io::Result<Keeper>,
        report: impl Fn(News) + Send + Sync + 'static,
    ) -> std::io::Result<Keepers> {
        let report: Arc<Report> = Arc::new(report);
        let several = specs.len() > 1;
        let mut threads = Vec::new();
        for (number, spec) in specs.into_iter().enumerate() {
            let name = several.then(|| spec.device.clone());
            let (to, orders) = channel();
            let (says, opened) = channel();
            let kept = Kept { number, name, keeper: make(number, spec)?.beside(told), report: Arc::clone(&report) };
            thread::Builder::new().spawn(move || kept.follow(&orders, &says))?;
            threads.push(Orders { to, opened });
        }
        match threads.is_empty() {
            true => Err(std::io::Error::other("no device was named")),
            false => Ok(Keepers { threads }),
        }
    }

    /// Starts an executor for each device, all at the same time.
    ///
    /// # Errors
    /// Why one of them could not be opened.
    pub fn start(&self) -> Result<LabReady, String> {
        let mut ready = self.all(|| Order::Open)?.into_iter();
        let mut first = ready.next().ok_or("no device was named")?;
        first.beside = ready.map(|other| other.identity).collect();
        Ok(first)
    }

    /// Ends the executors, so that the devices are closed, and starts new ones once `between` was done.
    ///
    /// # Errors
    /// What `between` answered, or why a device could not be opened.
    pub fn restart(&self, between: impl FnOnce() -> Result<(), String>) -> Result<LabReady, String> {
        self.close();
        between()?;
        self.start()
    }

    /// Ends the executors, so that the devices are closed.
    pub fn close(&self) {
        // A thread that is gone is met again when its device is to be opened.
        for orders in &self.threads {
            let _ = orders.to.send(Order::Close);
        }
        for orders in &self.threads {
            let _ = orders.opened.recv();
        }
    }

    /// Has a device run a check. It reports when it is over.
    pub fn run(&self, device: usize, check: String) -> Result<(), String> {
        let orders = self.threads.get(device).ok_or_else(|| format!("there is no device {device}"))?;
        orders.to.send(Order::Run(check)).map_err(|_| GONE.to_owned())
    }

    fn all(&self, order: impl Fn() -> Order) -> Result<Vec<LabReady>, String> {
        for orders in &self.threads {
            orders.to.send(order()).map_err(|_| GONE.to_owned())?;
        }
        // All are heard before one is complained of: an answer that nobody took would be the next one's.
        let answers: Vec<_> = self.threads.iter().map(|orders| orders.opened.recv()).collect();
        answers.into_iter().map(|answer| answer.unwrap_or_else(|_| Err(GONE.to_owned()))).collect()
    }
}

const GONE: &str = "the keeper of this device is gone; please report it";

/// A device with its keeper, in its thread.
struct Kept {
    number: usize,
    /// What it is called, if there are others.
    name: Option<String>,
    keeper: Keeper,
    report: Arc<Report>,
}

impl Kept {
    fn follow(mut self, orders: &Receiver<Order>, opened: &Sender<Result<LabReady, String>>) {
        for order in orders {
            // Nobody hears the answer once the guest is going down.
            match order {
                Order::Open => {
                    let ready = self.keeper.start();
                    self.report_incidents();
                    drop(opened.send(ready));
                }
                Order::Close => {
                    self.keeper.stop();
                    self.report_incidents();
                    let _ = opened.send(Err("closed".to_owned()));
                }
                Order::Run(check) => {
                    let done = panic::catch_unwind(AssertUnwindSafe(|| self.keeper.run(&check)));
                    let done = done.unwrap_or_else(|_| Done::lost(Verdict::Blocked, GONE));
                    self.report_incidents();
                    let done = Box::new(signed(done, self.name.as_deref()));
                    (self.report)(News::Over(self.number, done));
                }
            }
        }
    }

    fn report_incidents(&mut self) {
        for mut incident in self.keeper.take_incidents() {
            incident.device.clone_from(&self.name);
            (self.report)(News::Incident(Box::new(incident)));
        }
    }
}

/// Says whose news it is, where there are several devices.
fn signed(mut done: Done, name: Option<&str>) -> Done {
    let Some(name) = name else {
        return done;
    };
    if !matches!(done.outcome.verdict, Verdict::Pass | Verdict::Skip) {
        done.outcome.evidence.notes.push(format!("this is {name}"));
    }
    done.lost = done.lost.map(|why| format!("{why} ({name})"));
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::outcome::Outcome;

    #[test]
    fn bad_news_has_a_name_where_there_are_others() {
        let bad = || Done { outcome: Outcome::without_judgement(Verdict::Fail, "EIO"), lost: Some("gone".into()) };
        assert_eq!(signed(bad(), None), bad());
        let named = signed(bad(), Some("b"));
        assert_eq!(named.outcome.evidence.notes, ["this is b"]);
        assert_eq!(named.lost.as_deref(), Some("gone (b)"));
    }

    #[test]
    fn nobody_needs_to_know_whose_good_news_it_is() {
        let good = Done { outcome: Outcome::without_judgement(Verdict::Pass, ""), lost: None };
        assert_eq!(signed(good.clone(), Some("b")), good);
    }

    #[test]
    fn there_must_be_a_device() {
        let make = |_, _| Err(std::io::Error::other("not asked for"));
        assert!(Keepers::new(Vec::new(), &Arc::default(), make, |_| {}).is_err());
    }
}
