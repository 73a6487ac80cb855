//! CLIF to bytes, for any machine Cranelift has in this build; nothing is published here.
#![forbid(unsafe_code)]

use std::ops::Range;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, StackSlot};
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, FinalizedMachReloc};
use target_lexicon::{Architecture, Triple};

use crate::key::{StubKey, Target};
use crate::lower::{FRAME_SLOT, lower};
use crate::unwind::CallState;
use crate::veneer::{self, Encoded, Plan};
use crate::{Arch, Family, StubError};

/// Makes stubs' bytes for one machine.
pub struct Compiler {
    isa: OwnedTargetIsa,
}

/// A stub's bytes and what publishing needs to know of them.
pub struct Compiled {
    /// The stub: position-independent but for one call to the veneer.
    pub code: Vec<u8>,
    pub(crate) veneer: Option<Encoded>,
    pub(crate) relocations: Vec<FinalizedMachReloc>,
    pub(crate) function: Function,
    pub(crate) call_state: Option<CallState>,
    pub(crate) alignment: u32,
    /// The loop over records, as a range of bytes.
    pub(crate) hot: Range<usize>,
    listing: Option<String>,
}

impl Compiled {
    /// The function as CLIF, as it was given to the compiler.
    pub fn clif(&self) -> String {
        self.function.display().to_string()
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

    /// A compiler for another machine. The default build has the host's ISA only; feature `all-arch` brings the others.
    ///
    /// # Errors
    /// The machine is none that Cranelift or this build has.
    pub fn for_target(triple: Triple) -> Result<Compiler, StubError> {
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
        // The code of a stub is the same at every optimization level, and `none` compiles fastest.
        for (name, value) in [
            ("opt_level", "none"),
            ("is_pic", "false"),
            ("unwind_info", "true"),
            ("machine_code_cfg_info", "true"),
            ("enable_verifier", verify),
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
        ] {
            flags
                .set(name, value)
                .map_err(|e| none(format!("Cranelift setting {name}={value}: {e}")))?;
        }
        let builder = isa::lookup(triple.clone()).map_err(|e| none(e.to_string()))?;
        let isa = builder
            .finish(settings::Flags::new(flags))
            .map_err(|e| none(e.to_string()))?;
        Ok(Compiler { isa })
    }

    /// The machine code is for.
    pub fn triple(&self) -> &Triple {
        self.isa.triple()
    }

    pub(crate) fn isa(&self) -> &OwnedTargetIsa {
        &self.isa
    }

    /// Compiles the stub for `key`; with `listing`, keeps Cranelift's listing of it.
    ///
    /// # Errors
    /// The key is for another machine, or its ABI has no veneer here, or Cranelift failed (our bug).
    pub fn compile(&self, key: &StubKey, listing: bool) -> Result<Compiled, StubError> {
        self.check_machine(key)?;
        let (ints, floats) = key.register_moves();
        let plan = Plan::choose(ints.len(), floats.len());
        let veneer = match key.abi().family() {
            Family::Go => {
                Some(
                    veneer::encode(key.abi(), plan).ok_or_else(|| StubError::NoGenerator {
                        key: key.to_string(),
                        abi: key.abi(),
                        reason: format!("no veneer for {}", key.abi().arch()),
                    })?,
                )
            }
            _ => None,
        };
        let function = lower(
            key,
            self.isa.default_call_conv(),
            self.isa.frontend_config(),
        );
        let mut context = Context::for_function(function);
        context.set_disasm(listing);
        let internal = |step, detail: String, context: &Context| StubError::Internal {
            key: key.to_string(),
            step,
            detail: format!("{detail}\n{}", context.func.display()),
        };
        // Rendered before compiling, which legalizes the function in place.
        let function = context.func.clone();
        if let Err(e) = context.compile(self.isa.as_ref(), &mut ControlPlane::default()) {
            return Err(internal("compiling", format!("{:?}", e.inner), &context));
        }
        let Some(code) = context.compiled_code() else {
            return Err(internal("compiling", "no code".into(), &context));
        };
        self.check_frame_slot(key, code)
            .map_err(|detail| internal("placing the frame", detail, &context))?;
        let call_state = match code.create_unwind_info(self.isa.as_ref()) {
            Ok(Some(UnwindInfo::SystemV(info))) => {
                let calls: Vec<u32> = code.buffer.call_sites().map(|site| site.ret_addr).collect();
                let state = CallState::at_calls(self.isa.as_ref(), &info, &calls);
                Some(state.map_err(|detail| {
                    internal("describing the frame to unwinders", detail, &context)
                })?)
            }
            Ok(_) => None,
            Err(e) => {
                return Err(internal(
                    "describing the frame to unwinders",
                    e.to_string(),
                    &context,
                ));
            }
        };
        Ok(Compiled {
            code: code.code_buffer().to_vec(),
            veneer,
            relocations: code.buffer.relocs().to_vec(),
            function,
            call_state,
            alignment: code.buffer.alignment,
            hot: hot(code),
            listing: code.vcode.clone(),
        })
    }

    fn check_machine(&self, key: &StubKey) -> Result<(), StubError> {
        if go_arch(self.triple()) == Some(key.abi().arch()) {
            return Ok(());
        }
        Err(StubError::WrongHost {
            key: key.to_string(),
            wanted: key.abi().arch().to_string(),
            found: self.triple().to_string(),
        })
    }

    /// Slot 0 must begin at the stack pointer; see [`lower`](crate::lower).
    fn check_frame_slot(
        &self,
        key: &StubKey,
        code: &cranelift_codegen::CompiledCode,
    ) -> Result<(), String> {
        let needs_frame =
            key.frame() > 0 || key.moves().iter().any(|m| matches!(m.to, Target::Frame(_)));
        if !needs_frame {
            return Ok(());
        }
        let layout = code
            .buffer
            .frame_layout()
            .ok_or("Cranelift reports no frame layout")?;
        match layout.stackslots[StackSlot::from_u32(FRAME_SLOT)].offset {
            0 => Ok(()),
            offset => Err(format!(
                "the callee's frame lies {offset} bytes above the stack pointer, wanted 0"
            )),
        }
    }
}

/// The bytes from the block with the call up to the last block, which ends the stub.
fn hot(code: &cranelift_codegen::CompiledCode) -> Range<usize> {
    let Some(call) = code.buffer.call_sites().next() else {
        return 0..0;
    };
    let head = code.bb_starts.iter().rfind(|&&at| at < call.ret_addr);
    match (head, code.bb_starts.last()) {
        (Some(&head), Some(&exit)) => head as usize..exit as usize,
        _ => 0..0,
    }
}

/// Go's name for a target's architecture, where it has a register ABI.
pub(crate) fn go_arch(triple: &Triple) -> Option<Arch> {
    match triple.architecture {
        Architecture::X86_64 => Some(Arch::Amd64),
        Architecture::Aarch64(_) => Some(Arch::Arm64),
        Architecture::Riscv64(_) => Some(Arch::Riscv64),
        Architecture::S390x => Some(Arch::S390x),
        _ => None,
    }
}
