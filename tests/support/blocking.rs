//! Finalizers that stop in the middle.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use fing::FinalizerFn;

use super::vm::{LONG, Vm};

/// Finalizers that note the number of their object, and block at one of them until told to go on.
pub(crate) struct Blocking {
    pub(crate) function: FinalizerFn,
    pub(crate) ran: Arc<Mutex<Vec<u64>>>,
    pub(crate) running: Receiver<()>,
    pub(crate) go_on: Sender<()>,
}

impl Blocking {
    /// `blocks`: at which call, counted from 0.
    pub(crate) fn new(vm: &Vm, blocks: usize) -> Blocking {
        let ran: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (tell, running) = channel();
        let (go_on, wait) = channel();
        let wait = Mutex::new(wait);
        let runtime = vm.runtime.downgrade();
        let notes = ran.clone();
        let function = vm.function("func(*main.T)", move |[object, _]| {
            let runtime = runtime.upgrade().unwrap();
            let number = runtime
                .enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap())
                .unwrap();
            let mut ran = notes.lock().unwrap();
            ran.push(number);
            if ran.len() == blocks + 1 {
                drop(ran);
                tell.send(()).unwrap();
                wait.lock().unwrap().recv().unwrap();
            }
        });
        Blocking {
            function,
            ran,
            running,
            go_on,
        }
    }

    /// Objects of these numbers that nothing refers to. Returns their addresses.
    pub(crate) fn doom(&self, vm: &Vm, numbers: impl IntoIterator<Item = u64>) -> Vec<usize> {
        vm.enter(|m| {
            let doomed = numbers.into_iter().map(|number| {
                let object = m.alloc(vm.t).unwrap();
                m.store_word(object, 0, number).unwrap();
                m.set_finalizer(object, &self.function).unwrap();
                object.addr()
            });
            doomed.collect()
        })
    }

    pub(crate) fn wait_until_blocked(&self) {
        self.running.recv_timeout(LONG).unwrap();
    }

    pub(crate) fn ran(&self) -> Vec<u64> {
        self.ran.lock().unwrap().clone()
    }
}
