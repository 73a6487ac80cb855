//! What a registration consists of besides the object and the function.
#![forbid(unsafe_code)]

use std::panic::Location;

use crate::calls::failure::FailurePolicy;
use crate::calls::lane::Lane;
use crate::order::CyclePolicy;

/// A value that a registration passes to its call besides the object: a plain word, or an object
/// that is kept alive until the call has returned. `O` is the type of references to objects:
/// [`Obj`](crate::Obj) in a [`Runtime`](crate::Runtime), the collector's
/// [`Reference`](crate::foreign::Reference) in [`foreign::Finalizers`](crate::foreign::Finalizers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldValue<O> {
    /// A plain word. It is not traced, even if it is an object's address.
    Word(u64),
    /// An object. It is a root exactly while the registration exists, or its call is queued or
    /// running.
    Object(O),
}

/// Options for setting a finalizer.
///
/// ```
/// use fing::{CyclePolicy, FinalizerOptions, HeldValue, Obj};
/// let options: FinalizerOptions<Obj<'_>> =
///     FinalizerOptions::new().context(HeldValue::Word(7)).cycle(CyclePolicy::Report);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct FinalizerOptions<O> {
    pub(crate) context: Option<HeldValue<O>>,
    pub(crate) handling: Handling,
    pub(crate) external_bytes: usize,
}

impl<O> Default for FinalizerOptions<O> {
    fn default() -> Self {
        FinalizerOptions::new()
    }
}

impl<O> FinalizerOptions<O> {
    /// Returns the defaults: no context, [`CyclePolicy::Leave`], the runtime's failure policy, no
    /// site, no external bytes.
    pub const fn new() -> Self {
        FinalizerOptions {
            context: None,
            handling: Handling::new(),
            external_bytes: 0,
        }
    }

    /// Sets the context of this registration. The function must have been declared to take a
    /// context from each registration
    /// ([`context_word`](crate::function::FunctionBuilder::context_word),
    /// [`context_object`](crate::function::FunctionBuilder::context_object)).
    pub fn context(mut self, context: HeldValue<O>) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets what happens to an unreachable cycle that the object is on. It matters only in
    /// [`Order::Topological`](crate::Order::Topological).
    pub fn cycle(mut self, policy: CyclePolicy) -> Self {
        self.handling = self.handling.cycle(policy);
        self
    }

    /// Sets what is done if the call fails, in place of the runtime's
    /// [`failure_policy`](crate::RuntimeBuilder::failure_policy).
    pub fn failure(mut self, policy: FailurePolicy) -> Self {
        self.handling = self.handling.failure(policy);
        self
    }

    /// Sets where the call is made; see [`Lane`]. A lane that is not the runtime's, or that the
    /// function was not declared to bear, is refused.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.handling = self.handling.lane(lane);
        self
    }

    /// Records where this is called, for [reports](crate::failure::Failure::site) of failures. It
    /// takes no memory for each registration, but some for each site.
    #[track_caller]
    pub fn record_site(mut self) -> Self {
        self.handling = self.handling.record_site();
        self
    }
}

/// How the registrations of a prepared finalizer are handled: what
/// [`FinalizerOptions`] say that is not of a single object. A [`CyclePolicy`] alone can be given in
/// its place.
///
/// ```
/// use fing::failure::{FailurePolicy, Handling};
/// let handling = Handling::new().failure(FailurePolicy::Requeue(3)).record_site();
/// assert_ne!(handling, Handling::new());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "options do nothing by themselves"]
pub struct Handling {
    pub(crate) cycle: CyclePolicy,
    pub(crate) failure: Option<FailurePolicy>,
    pub(crate) site: Option<&'static Location<'static>>,
    pub(crate) lane: Option<Lane>,
    /// How many times the call was queued again, after it had failed.
    pub(crate) requeued: u8,
    /// The pointer leads into the object, not to its start.
    pub(crate) inside: bool,
}

impl Handling {
    /// Returns the defaults: [`CyclePolicy::Leave`], the runtime's failure policy, no site.
    pub const fn new() -> Handling {
        Handling {
            cycle: CyclePolicy::Leave,
            failure: None,
            site: None,
            lane: None,
            requeued: 0,
            inside: false,
        }
    }

    /// Sets what happens to unreachable cycles; see [`FinalizerOptions::cycle`].
    pub fn cycle(self, cycle: CyclePolicy) -> Self {
        Handling { cycle, ..self }
    }

    /// Sets what is done about failures; see [`FinalizerOptions::failure`].
    pub fn failure(self, policy: FailurePolicy) -> Self {
        Handling {
            failure: Some(policy),
            ..self
        }
    }

    /// Sets where calls are made; see [`FinalizerOptions::lane`].
    pub fn lane(self, lane: Lane) -> Self {
        Handling {
            lane: Some(lane),
            ..self
        }
    }

    /// Records where this is called; see [`FinalizerOptions::record_site`].
    #[track_caller]
    pub fn record_site(self) -> Self {
        Handling {
            site: Some(Location::caller()),
            ..self
        }
    }
}

impl From<CyclePolicy> for Handling {
    fn from(cycle: CyclePolicy) -> Handling {
        Handling::new().cycle(cycle)
    }
}
