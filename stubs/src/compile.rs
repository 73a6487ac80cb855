//! CLIF to bytes, for any machine Cranelift has in this build; nothing is published here.
#![forbid(unsafe_code)]

mod link;
mod slots;
#[cfg(all(test, feature = "all-arch"))]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::unwind::{UnwindInfo, systemv};
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context, FinalizedMachReloc};
use target_lexicon::{Architecture, Triple};

use self::slots::Slots;
use crate::key::StubKey;
use crate::lock::none_held;
use crate::lower::{Callee, Machine, entrance, lower};
use crate::unwind::CallState;
use crate::veneer::{self, Encoded, Facts, Plan};
use crate::{Arch, StubError};

/// Makes stubs' bytes for one machine.
pub struct Compiler {
    isa: OwnedTargetIsa,
    entrance: OnceLock<Arc<Entrance>>,
    #[cfg(feature = "faults")]
    fault: Option<crate::faults::Fault>,
}

/// A stub's bytes and what publishing needs to know of them.
pub struct Compiled {
    /// The stub: position-independent but for one call to the veneer.
    pub code: Vec<u8>,
    /// What the stub is entered through, if it keeps no register itself.
    pub(crate) entrance: Option<Arc<Entrance>>,
    pub(crate) veneer: Option<Encoded>,
    pub(crate) relocations: Vec<FinalizedMachReloc>,
    pub(crate) call_state: Option<CallState>,
    pub(crate) veneer_state: Option<CallState>,
    /// Cranelift's unwind information, for debuggers.
    pub(crate) unwind: Option<systemv::UnwindInfo>,
    pub(crate) alignment: u32,
    /// The loop over records, as a range of bytes.
    pub(crate) hot: Range<usize>,
    listing: Option<String>,
    key: StubKey,
    /// What the stub calls, and on which machine.
    callee: Callee,
    machine: Machine,
}

/// The function through which stubs are entered that keep no register; see
/// [`lower`](mod@crate::lower).
pub(crate) struct Entrance {
    pub(crate) code: Vec<u8>,
    pub(crate) state: Option<CallState>,
    pub(crate) unwind: Option<systemv::UnwindInfo>,
    listing: Option<String>,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler")
            .field("triple", self.triple())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("key", &self.key)
            .field("code", &self.code.len())
            .field("veneer", &self.veneer().len())
            .field("entrance", &self.entrance().len())
            .finish_non_exhaustive()
    }
}

impl Compiled {
    /// Entrance, stub and veneer as one position-independent blob, to be run at any address:
    /// entered at its first byte by the machine's C convention with four arguments: the first
    /// record, a cell with the end of the records, the cell for progress, g.
    ///
    /// # Errors
    /// None but a bug of ours: a relocation of an unknown kind.
    pub fn image(&self) -> Result<Vec<u8>, StubError> {
        let entrance = self.entrance.as_ref().map(|entrance| &*entrance.code);
        link::link(entrance, &self.code, &self.relocations, self.veneer()).map_err(|detail| {
            StubError::Internal {
                key: self.key.to_string(),
                step: "linking",
                detail,
            }
        })
    }

    /// How unwinders see the calls of each part of the [image](Compiled::image), by its range;
    /// empty where Cranelift has no System V information.
    #[cfg(feature = "clif")]
    pub(crate) fn states(&self) -> Vec<(Range<u32>, CallState)> {
        let stub = self.stub_offset();
        let veneer = link::veneer_offset(stub, self.code.len());
        let entrance = self.entrance.as_ref();
        let parts = [
            (
                0..stub,
                entrance.and_then(|entrance| entrance.state.as_ref()),
            ),
            (stub..veneer, self.call_state.as_ref()),
            (
                veneer..veneer + self.veneer().len(),
                self.veneer_state.as_ref(),
            ),
        ];
        let parts = parts.into_iter().filter(|(range, _)| !range.is_empty());
        parts
            .filter_map(|(range, state)| {
                Some((range.start as u32..range.end as u32, state?.clone()))
            })
            .collect()
    }

    /// Where the stub begins in the [image](Compiled::image).
    pub fn stub_offset(&self) -> usize {
        link::stub_offset(self.entrance.as_ref().map(|entrance| entrance.code.len()))
    }

    /// The bytes of the function that saves the caller's registers and calls the stub, whose
    /// address is its fifth argument; empty for a stub that saves them itself.
    pub fn entrance(&self) -> &[u8] {
        self.entrance
            .as_ref()
            .map_or(&[], |entrance| &entrance.code)
    }

    /// Cranelift's listing of the entrance, if there is one and it was asked for.
    pub fn entrance_listing(&self) -> Option<&str> {
        self.entrance.as_ref()?.listing.as_deref()
    }

    /// The function as CLIF, as it was given to the compiler.
    pub fn clif(&self) -> String {
        let lowered = lower(&self.key, self.callee, self.machine);
        lowered.function.display().to_string()
    }

    /// The veneer's bytes; empty for a native ABI.
    pub fn veneer(&self) -> &[u8] {
        self.veneer.as_ref().map_or(&[], |veneer| &veneer.bytes)
    }

    /// The veneer's instructions, by offset.
    pub fn veneer_listing(&self) -> &[(usize, String)] {
        self.veneer.as_ref().map_or(&[], |veneer| &veneer.listing)
    }

    /// Cranelift's listing of the machine code, if it was asked for.
    pub fn listing(&self) -> Option<&str> {
        self.listing.as_deref()
    }
}

impl Compiler {
    /// A compiler for the machine this runs on.
    ///
    /// # Errors
    /// The machine is none that Cranelift or this build has.
    pub fn host() -> Result<Compiler, StubError> {
        Compiler::for_target(Triple::host())
    }

    /// A compiler for another machine. The default build has the host's ISA only; feature
    /// `all-arch` brings the others.
    ///
    /// # Errors
    /// The machine is none that Cranelift or this build has.
    pub fn for_target(triple: Triple) -> Result<Compiler, StubError> {
        Ok(Compiler {
            isa: isa_for(&triple, false)?,
            entrance: OnceLock::new(),
            #[cfg(feature = "faults")]
            fault: None,
        })
    }

    /// Plants a mistake in every stub and entry that is compiled from now on.
    #[cfg(feature = "faults")]
    pub fn plant(&mut self, fault: crate::faults::Fault) {
        self.entrance = OnceLock::new();
        self.fault = Some(fault);
    }

    /// Whether a mistake is planted.
    pub(crate) fn has_fault(&self) -> bool {
        #[cfg(feature = "faults")]
        return self.fault.is_some();
        #[cfg(not(feature = "faults"))]
        false
    }

    /// The machine code is for.
    pub fn triple(&self) -> &Triple {
        self.isa.triple()
    }

    /// Our name for a target's architecture; `None` where no ABI of ours is for it.
    pub fn arch_of(target: &Triple) -> Option<Arch> {
        arch_of(target)
    }

    /// Go's or Cranelift's name for that machine's architecture; `None` where no ABI of ours is for
    /// it.
    pub fn arch(&self) -> Option<Arch> {
        arch_of(self.isa.triple())
    }

    pub(crate) fn isa(&self) -> &OwnedTargetIsa {
        &self.isa
    }

    /// As [`Compiler::isa`], for code that names symbols as a module with this setting does.
    #[cfg(feature = "clif")]
    pub(crate) fn isa_for_module(&self, is_pic: bool) -> Result<OwnedTargetIsa, StubError> {
        match is_pic {
            true => isa_for(self.triple(), true),
            false => Ok(self.isa.clone()),
        }
    }

    /// Whether bodies of entries give the address of a hidden result area back.
    pub(crate) fn gives_area_back(&self) -> bool {
        #[cfg(feature = "faults")]
        return self.fault != Some(crate::faults::Fault::AreaNotReturned);
        #[cfg(not(feature = "faults"))]
        true
    }

    /// Compiles the stub for `key`; with `listing`, keeps Cranelift's listing of it.
    ///
    /// # Errors
    /// The key is for another machine, its frame is beyond the veneer's reach, or Cranelift failed
    /// (our bug).
    pub fn compile(&self, key: &StubKey, listing: bool) -> Result<Compiled, StubError> {
        self.check_machine(key)?;
        // Cranelift writes log records.
        none_held();
        #[cfg(feature = "faults")]
        let key = &self
            .fault
            .map_or_else(|| key.clone(), |fault| fault.spoil(key));
        let callee = self.callee(key)?;
        let machine = self.machine();
        let is_entered = machine.stub_convention(&callee, key.abi().arch()) != machine.native;
        let entrance = is_entered
            .then(|| self.entrance(key, listing))
            .transpose()?;
        let lowered = lower(key, callee, machine);
        let mut context = Context::for_function(lowered.function);
        context.set_disasm(listing);
        let internal = |step, detail: String, context: &Context| StubError::Internal {
            key: key.to_string(),
            step,
            detail: format!("{detail}\n{}", context.func.display()),
        };
        if let Err(e) = context.compile(self.isa.as_ref(), &mut ControlPlane::default()) {
            return Err(internal("compiling", format!("{:?}", e.inner), &context));
        }
        let Some(code) = context.compiled_code() else {
            return Err(internal("compiling", "no code".into(), &context));
        };
        let layout = Slots::of(code, lowered.frame, lowered.save)
            .map_err(|detail| internal("placing the frame", detail, &context))?;
        let (call_state, unwind) = unwinding(self.isa.as_ref(), code)
            .map_err(|detail| internal("describing the frame to unwinders", detail, &context))?;
        let veneer = match callee {
            Callee::Go(plan) => {
                let encoded = veneer::encode(key.abi().arch(), &plan, layout.save);
                Some(encoded.map_err(|reason| self.no_generator(key, reason))?)
            }
            Callee::Variadic(_) => {
                Some(veneer::variadic(key.vectors(), &key.doubled(), layout.save))
            }
            Callee::Native(_) => None,
        };
        let veneer_state = match (callee, &call_state, Facts::of(key.abi().arch())) {
            (Callee::Go(plan), Some(state), Some(facts)) if plan.calls => {
                Some(state.at_veneer(facts.unwind, layout.save, layout.stack_pointer_to_cfa))
            }
            _ => call_state.clone(),
        };
        Ok(Compiled {
            code: code.code_buffer().to_vec(),
            entrance,
            veneer,
            relocations: code.buffer.relocs().to_vec(),
            call_state,
            veneer_state,
            unwind,
            alignment: code.buffer.alignment,
            hot: hot(code),
            listing: code.vcode.clone(),
            key: key.clone(),
            callee,
            machine,
        })
    }

    /// The entrance for this machine, made with the first stub that needs it, or again for its
    /// listing.
    fn entrance(&self, key: &StubKey, listing: bool) -> Result<Arc<Entrance>, StubError> {
        if let (Some(entrance), false) = (self.entrance.get(), listing) {
            return Ok(entrance.clone());
        }
        let internal = |detail: String| StubError::Internal {
            key: key.to_string(),
            step: "compiling the entrance",
            detail,
        };
        let mut context = Context::for_function(entrance(self.machine()));
        context.set_disasm(listing);
        let code = context
            .compile(self.isa.as_ref(), &mut ControlPlane::default())
            .map_err(|e| internal(format!("{:?}", e.inner)))?;
        let (state, unwind) = unwinding(self.isa.as_ref(), code).map_err(internal)?;
        let entrance = Arc::new(Entrance {
            code: code.code_buffer().to_vec(),
            state,
            unwind,
            listing: code.vcode.clone(),
        });
        if listing {
            return Ok(entrance);
        }
        Ok(self.entrance.get_or_init(|| entrance).clone())
    }

    fn machine(&self) -> Machine {
        Machine {
            native: self.isa.default_call_conv(),
            config: self.isa.frontend_config(),
            #[cfg(feature = "faults")]
            fault: self.fault,
        }
    }

    /// What a key's stub calls, and by which of Cranelift's conventions.
    fn callee(&self, key: &StubKey) -> Result<Callee, StubError> {
        use crate::abi::Convention as C;
        let Some(convention) = key.abi().convention() else {
            let none = || format!("no veneer for {}", key.abi().arch());
            return match Plan::of(key) {
                Some(plan) => Ok(Callee::Go(plan)),
                None => Err(self.no_generator(key, none())),
            };
        };
        let call = match convention {
            C::SystemV | C::Aapcs64 | C::Lp64d | C::ElfS390x | C::Pulley | C::PulleyBe => {
                CallConv::SystemV
            }
            C::Fastcall => CallConv::WindowsFastcall,
            C::AppleArm64 => CallConv::AppleAarch64,
            C::TailAmd64 | C::TailArm64 | C::TailRiscv64 | C::TailS390x => CallConv::Tail,
        };
        Ok(if key.vectors().is_some() || !key.doubled().is_empty() {
            Callee::Variadic(call)
        } else {
            Callee::Native(call)
        })
    }

    fn no_generator(&self, key: &StubKey, reason: String) -> StubError {
        StubError::NoGenerator {
            key: key.to_string(),
            abi: key.abi(),
            reason,
        }
    }

    fn check_machine(&self, key: &StubKey) -> Result<(), StubError> {
        if arch_of(self.triple()) == Some(key.abi().arch()) {
            return Ok(());
        }
        Err(StubError::WrongHost {
            key: key.to_string(),
            wanted: key.abi().arch().to_string(),
            found: self.triple().to_string(),
        })
    }
}

/// The ISA with the settings of stubs.
fn isa_for(triple: &Triple, is_pic: bool) -> Result<OwnedTargetIsa, StubError> {
    let none = |reason: String| StubError::NoTarget {
        target: triple.to_string(),
        reason,
    };
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) {
        "true"
    } else {
        "false"
    };
    let is_s390x = match triple.architecture {
        Architecture::S390x => "true",
        _ => "false",
    };
    // The code of a stub is the same at every optimization level, and `none` compiles fastest.
    for (name, value) in [
        ("opt_level", "none"),
        ("is_pic", if is_pic { "true" } else { "false" }),
        ("unwind_info", "true"),
        ("machine_code_cfg_info", "true"),
        ("enable_verifier", verify),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        // On s390x, the back chain, which `unwind::Cfa` goes by.
        ("preserve_frame_pointers", is_s390x),
    ] {
        flags
            .set(name, value)
            .map_err(|e| none(format!("Cranelift setting {name}={value}: {e}")))?;
    }
    let builder = isa::lookup(triple.clone()).map_err(|e| none(e.to_string()))?;
    builder
        .finish(settings::Flags::new(flags))
        .map_err(|e| none(e.to_string()))
}

/// What an unwinder must know at the code's calls, and all that Cranelift says; `None` where it has
/// no System V information.
pub(crate) fn unwinding(
    isa: &dyn TargetIsa,
    code: &CompiledCode,
) -> Result<(Option<CallState>, Option<systemv::UnwindInfo>), String> {
    match code.create_unwind_info(isa) {
        Ok(Some(UnwindInfo::SystemV(info))) => {
            let calls: Vec<u32> = code.buffer.call_sites().map(|site| site.ret_addr).collect();
            let state = CallState::at_calls(isa, &info, &calls)?;
            Ok((Some(state), Some(info)))
        }
        Ok(_) => Ok((None, None)),
        Err(e) => Err(e.to_string()),
    }
}

/// The bytes from the block with the call up to the last block, which ends the stub.
fn hot(code: &CompiledCode) -> Range<usize> {
    let Some(call) = code.buffer.call_sites().next() else {
        return 0..0;
    };
    let head = code.bb_starts.iter().rfind(|&&at| at < call.ret_addr);
    match (head, code.bb_starts.last()) {
        (Some(&head), Some(&exit)) => head as usize..exit as usize,
        _ => 0..0,
    }
}

/// Our name for a target's architecture.
pub(crate) fn arch_of(triple: &Triple) -> Option<Arch> {
    match triple.architecture {
        Architecture::X86_64 => Some(Arch::Amd64),
        Architecture::Aarch64(_) => Some(Arch::Arm64),
        Architecture::Riscv64(_) => Some(Arch::Riscv64),
        Architecture::S390x => Some(Arch::S390x),
        Architecture::Pulley64 => Some(Arch::Pulley64),
        Architecture::Pulley64be => Some(Arch::Pulley64Be),
        _ => None,
    }
}
