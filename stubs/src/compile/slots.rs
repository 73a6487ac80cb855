//! Where Cranelift has placed a stub's stack slots.
//!
//! The callee looks for its stack arguments at a fixed distance from the stack pointer, and the
//! stub has put them into its first slot. That the slot is there is a property of how Cranelift
//! lays out frames, promised nowhere; so it is checked in every stub that is made, and a change in
//! Cranelift is an error.
#![forbid(unsafe_code)]

use cranelift_codegen::CompiledCode;
use cranelift_codegen::ir::StackSlot;

/// Offsets of a stub's slots, in bytes from the stack pointer at its call.
pub(super) struct Slots {
    pub(super) save: i32,
    /// From the stack pointer to the canonical frame address.
    pub(super) stack_pointer_to_cfa: i64,
}

impl Slots {
    /// The frame slot must lie where the callee looks for its frame; see
    /// [`lower`](mod@crate::lower).
    pub(super) fn of(
        code: &CompiledCode,
        frame: Option<(StackSlot, u32)>,
        save: Option<StackSlot>,
    ) -> Result<Slots, String> {
        let mut slots = Slots {
            save: 0,
            stack_pointer_to_cfa: 0,
        };
        if frame.is_none() && save.is_none() {
            return Ok(slots);
        }
        let layout = code
            .buffer
            .frame_layout()
            .ok_or("Cranelift reports no frame layout")?;
        // The frame pointer points at itself and the return address.
        slots.stack_pointer_to_cfa = i64::from(layout.frame_to_fp_offset) + 16;
        let offset = |slot: StackSlot| i32::try_from(layout.stackslots[slot].offset);
        if let Some((slot, wanted)) = frame {
            let found = layout.stackslots[slot].offset;
            if found != wanted {
                return Err(format!(
                    "the callee's frame lies {found} bytes above the stack pointer, wanted {wanted}"
                ));
            }
        }
        if let Some(slot) = save {
            slots.save = offset(slot).map_err(|e| format!("save area: {e}"))?;
        }
        Ok(slots)
    }
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::ir::{
        AbiParam, Function, InstBuilder, Signature, StackSlotData, StackSlotKind, UserFuncName,
        types,
    };
    use cranelift_codegen::{Context, isa, settings};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
    use target_lexicon::Triple;

    use super::*;

    /// A function with two slots that makes a call with so many integers as arguments.
    fn compiled(arguments: usize) -> (Context, [StackSlot; 2]) {
        let flags = settings::Flags::new(settings::builder());
        let isa = isa::lookup(Triple::host()).unwrap().finish(flags).unwrap();
        let signature = Signature::new(isa.default_call_conv());
        let mut function = Function::with_name_signature(UserFuncName::default(), signature);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut function, &mut context);
        let slots = [32, 16].map(|bytes| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
            builder.create_sized_stack_slot(data)
        });
        let block = builder.create_block();
        builder.switch_to_block(block);
        let callee = builder.ins().iconst(types::I64, 0x1000);
        let values = vec![callee; arguments];
        let mut signature = Signature::new(isa.default_call_conv());
        signature.params = vec![AbiParam::new(types::I64); arguments];
        let signature = builder.import_signature(signature);
        builder.ins().call_indirect(signature, callee, &values);
        builder.ins().return_(&[]);
        builder.seal_all_blocks();
        builder.finalize(isa.frontend_config());
        let mut context = Context::for_function(function);
        context
            .compile(isa.as_ref(), &mut ControlPlane::default())
            .unwrap();
        (context, slots)
    }

    /// What Cranelift keeps below the first slot on this host.
    fn slot_zero() -> u32 {
        let abi = crate::Abi::host_native().unwrap();
        abi.native_table().unwrap().argument_base as u32
    }

    #[test]
    fn the_first_slot_begins_where_the_callee_looks() {
        let (context, [frame, save]) = compiled(1);
        let code = context.compiled_code().unwrap();
        let slots = Slots::of(code, Some((frame, slot_zero())), Some(save)).unwrap();
        assert_eq!(slots.save, slot_zero() as i32 + 32);
        assert!(slots.stack_pointer_to_cfa >= 48 + 16);
    }

    /// Stack arguments of Cranelift's own come between the stack pointer and the first slot, as any
    /// change of layout would move the slot.
    #[test]
    fn a_slot_elsewhere_is_an_error() {
        let (context, [frame, _]) = compiled(20);
        let code = context.compiled_code().unwrap();
        let error = Slots::of(code, Some((frame, slot_zero())), None).err();
        let error = error.unwrap_or_default();
        assert!(
            error.contains("bytes above the stack pointer, wanted"),
            "{error}"
        );
    }
}
