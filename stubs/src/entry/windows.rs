//! The rules of Go's callbacks on Windows (`syscall.NewCallback`), with Go's checks and texts.
//!
//! There a system function calls a Go function and passes each argument as one word, whatever its
//! type. Go takes only arguments of at most a word and no floats, wants exactly one result of a
//! word, has room for 2,000 functions, and gives the same function the same address. Who wants a
//! Go program's behaviour uses [`WindowsCallbacks`]; who wants to call a VM's function by any
//! signature uses [`SharedCallback::function`], which has none of these limits.
//!
//! In one thing this differs from Go 1.27: when a struct does not fit into the registers left, Go's
//! translation forgets to give back those that its first parts had taken, so that later arguments
//! are not where the function looks for them. Here they are.
#![expect(unsafe_code, reason = "a function at an address is taken on trust")]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::callback::{Function, SharedCallback};
use super::entries::Entries;
use super::options::CallbackOptions;
use crate::inward::{EntryKey, words_of};
use crate::lock::lock;
use crate::quote::short;
use crate::signature::{Kind, WORD};
use crate::{Abi, Convention, Family, Signature, StubError, Type, assign};

/// Distinct functions that Go has room for.
pub const MOST_CALLBACKS: usize = 2000;

/// Words of a Go frame that the translation may fill.
const MOST_WORDS: u64 = 64;

/// Why there is no such callback. [`WindowsError::go`] is what Go says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowsError {
    /// The type is no function with exactly one result of a word.
    #[error("Windows callback: found {}, wanted a function with one result of 8 bytes",
        short(.found))]
    Result {
        /// The type given.
        found: Type,
    },
    /// An argument is larger than a word.
    #[error("Windows callback: argument {index} is {} of {size} bytes, wanted at most 8",
        short(.found))]
    LargeArgument {
        /// Which argument.
        index: usize,
        /// Its type.
        found: Type,
        /// Its size.
        size: u64,
    },
    /// An argument is a float.
    #[error("Windows callback: argument {index} is {}, wanted no float", short(.found))]
    FloatArgument {
        /// Which argument.
        index: usize,
        /// Its type.
        found: Type,
    },
    /// The result is a float.
    #[error("Windows callback: the result is {}, wanted no float", short(.found))]
    FloatResult {
        /// Its type.
        found: Type,
    },
    /// An argument, or a part of one, is of a type that is not translated.
    #[error(
        "Windows callback: argument {index} has {} in it, wanted booleans, integers, pointers, and \
         structs and arrays of length 1 of those",
        short(.found)
    )]
    Unsupported {
        /// Which argument.
        index: usize,
        /// The type that is not supported.
        found: Type,
    },
    /// The arguments take too much room.
    #[error("Windows callback: the frame is {found} bytes, wanted at most 512")]
    LargeFrame {
        /// Bytes of arguments on the stack and of spill slots.
        found: u64,
    },
    /// There are 2,000 functions.
    #[error("Windows callback: found {MOST_CALLBACKS} functions, wanted fewer for another one")]
    TooMany,
    /// The callers' convention is not Windows', or the function's is not Go's for that machine.
    #[error("Windows callback: found {found}, wanted {wanted}")]
    OtherAbi {
        /// The ABI given.
        found: Abi,
        /// What it must be.
        wanted: &'static str,
    },
    /// No code or no memory.
    #[error(transparent)]
    Stub(#[from] StubError),
}

impl WindowsError {
    /// Go's words for it; `None` where Go has none.
    pub fn go(&self) -> Option<String> {
        let text = match self {
            WindowsError::Result { .. } => "expected function with one uintptr-sized result",
            WindowsError::LargeArgument { .. } => "argument size is larger than uintptr",
            WindowsError::FloatArgument { .. } => "float arguments not supported",
            WindowsError::FloatResult { .. } => "float results not supported",
            WindowsError::LargeFrame { .. } => "function argument frame too large",
            WindowsError::Unsupported { found, .. } => {
                return Some(format!(
                    "compileCallback: type {found:#} is currently not supported for use in system \
                     callbacks"
                ));
            }
            WindowsError::TooMany => return Some("too many callback functions".to_owned()),
            WindowsError::OtherAbi { .. } | WindowsError::Stub(_) => return None,
        };
        Some(format!("compileCallback: {text}"))
    }
}

/// Callbacks by Go's rules. Never freed one by one, as in Go: they go with this table.
pub struct WindowsCallbacks {
    entries: Entries,
    caller: Abi,
    table: Mutex<HashMap<(Function, bool), Arc<SharedCallback>>>,
    #[cfg(feature = "faults")]
    no_roll_back: bool,
}

impl fmt::Debug for WindowsCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowsCallbacks")
            .field("caller", &self.caller)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl WindowsCallbacks {
    /// An empty table for callers under `caller`: `fastcall/amd64`, or `aapcs/arm64`, which Windows
    /// has on arm64.
    ///
    /// # Errors
    /// Another convention.
    pub fn new(entries: &Entries, caller: Abi) -> Result<WindowsCallbacks, WindowsError> {
        match caller.convention() {
            Some(Convention::Fastcall | Convention::Aapcs64) => Ok(WindowsCallbacks {
                entries: entries.clone(),
                caller,
                table: Mutex::default(),
                #[cfg(feature = "faults")]
                no_roll_back: false,
            }),
            _ => Err(WindowsError::OtherAbi {
                found: caller,
                wanted: "fastcall/amd64 or aapcs/arm64 for the callers",
            }),
        }
    }

    /// Plants Go 1.27's mistake: registers of a struct that did not fit are not given back.
    #[cfg(feature = "faults")]
    pub fn plant_no_roll_back(&mut self) {
        self.no_roll_back = true;
    }

    /// Distinct functions so far; in a forked child none, since they are counted under a lock.
    pub fn len(&self) -> usize {
        if self.entries.0.stubs.gate().is_forked() {
            return 0;
        }
        lock(&self.table).len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address that calls `function`, which is of type `ty`, as `compileCallback` gives it. The
    /// types are checked each time; then the same function, with the same `cdecl`, has the address
    /// it had. `cdecl` makes no other difference on 64-bit machines.
    ///
    /// # Errors
    /// In Go's order: see [`WindowsError`].
    ///
    /// # Safety
    /// As [`SharedCallback::function`], for the type and the words that the system passes.
    pub unsafe fn compile(
        &self,
        ty: &Type,
        function: Function,
        cdecl: bool,
    ) -> Result<usize, WindowsError> {
        StubError::check_fork(self.entries.0.stubs.gate())?;
        let abi = function.abi;
        if abi.family() != Family::Go || abi.arch() != self.caller.arch() {
            return Err(WindowsError::OtherAbi {
                found: abi,
                wanted: "Go's ABI of the callers' machine for the function",
            });
        }
        let signature = translate(ty, abi)?;
        let known = (function, cdecl);
        if let Some(callback) = lock(&self.table).get(&known) {
            return Ok(callback.address());
        }
        if self.len() >= MOST_CALLBACKS {
            return Err(WindowsError::TooMany);
        }
        let limit = self.entries.0.options.frame_limit;
        let key = EntryKey::of_words(&signature, &words_of(&signature)?, self.caller, limit)?;
        let point = self.entries.point_of(key, &signature, self.caller, abi)?;
        let options = CallbackOptions::default().owner("WindowsCallbacks");
        #[cfg(feature = "faults")]
        let made = if self.no_roll_back {
            SharedCallback::with_fault(&point, options, function)?
        } else {
            // SAFETY: I5: the caller's promise.
            unsafe { SharedCallback::function(&point, options, function)? }
        };
        #[cfg(not(feature = "faults"))]
        // SAFETY: I5: the caller's promise.
        let made = unsafe { SharedCallback::function(&point, options, function)? };
        let made = Arc::new(made);
        let mut table = lock(&self.table);
        if table.len() >= MOST_CALLBACKS && !table.contains_key(&known) {
            return Err(WindowsError::TooMany);
        }
        // The first one stays, if another thread made the same. Then this one is dropped behind the
        // lock.
        let first = table.entry(known).or_insert_with(|| made.clone());
        Ok(first.address())
    }
}

/// The function's signature, if Go takes it.
fn translate(ty: &Type, abi: Abi) -> Result<Signature, WindowsError> {
    let not_a_function = || WindowsError::Result { found: ty.clone() };
    let Kind::Func(function) = ty.underlying() else {
        return Err(not_a_function());
    };
    let size = |ty: &Type| ty.layout().map_or(0, |layout| layout.size);
    let mut registers = 0;
    for (index, ty) in function.params.iter().enumerate() {
        if size(ty) > WORD {
            return Err(WindowsError::LargeArgument {
                index,
                found: ty.clone(),
                size: size(ty),
            });
        }
        if is_float(ty) {
            return Err(WindowsError::FloatArgument {
                index,
                found: ty.clone(),
            });
        }
        if size(ty) > 0 {
            let before = registers;
            let fits = in_registers(ty, abi.int_regs(), &mut registers);
            if !fits.map_err(|found| WindowsError::Unsupported { index, found })? {
                registers = before;
            }
        }
    }
    let [result] = &function.results[..] else {
        return Err(not_a_function());
    };
    if size(result) != WORD {
        return Err(not_a_function());
    }
    if is_float(result) {
        return Err(WindowsError::FloatResult {
            found: result.clone(),
        });
    }
    let params = function.params.clone();
    let signature =
        Signature::new(None, params, function.results.clone(), false).map_err(StubError::from)?;
    let assignment = assign(&signature, abi).map_err(StubError::from)?;
    let found = assignment.results_off + assignment.spill_size;
    if found > MOST_WORDS * WORD {
        return Err(WindowsError::LargeFrame { found });
    }
    Ok(signature)
}

fn is_float(ty: &Type) -> bool {
    matches!(ty.underlying(), Kind::Float32 | Kind::Float64)
}

/// Whether a value fits into the registers left, of which it takes some; or the type in it that is
/// not translated. Parts behind the first that does not fit are not looked at.
fn in_registers(ty: &Type, most: usize, taken: &mut usize) -> Result<bool, Type> {
    match ty.underlying() {
        Kind::Bool
        | Kind::Int
        | Kind::Int8
        | Kind::Int16
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint
        | Kind::Uint8
        | Kind::Uint16
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Uintptr
        | Kind::Pointer(_)
        | Kind::UnsafePointer => {
            let fits = *taken < most;
            *taken += usize::from(fits);
            Ok(fits)
        }
        Kind::Array(1, elem) => in_registers(elem, most, taken),
        Kind::Struct(fields) => {
            for field in fields {
                if !in_registers(&field.ty, most, taken)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Err(ty.clone()),
    }
}
