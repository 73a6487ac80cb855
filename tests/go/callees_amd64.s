// Finalizers in assembly. Assembly functions follow ABI0: arguments, then results, from the argument base; no registers.
// The frame after $ is locals-arguments: pointer case 8 + 8 + 4 + 10; interface case 16 + 8 + 4 + 10.

#include "textflag.h"

// func ABI0Pointer(v *TintPointer) (int, float32, [10]byte)
TEXT ·ABI0Pointer(SB), NOSPLIT, $0-30
	MOVQ v+0(FP), AX
	MOVQ (AX), AX
	MOVQ (AX), AX
	MOVQ AX, ·Confirmed(SB)
	INCQ ·Calls(SB)
	MOVQ $5151, ret+8(FP)
	MOVL $0x40800000, ret1+16(FP)
	MOVQ $0x0807060504030201, CX
	LEAQ ret2+20(FP), DI
	MOVQ CX, (DI)
	MOVW $0x0a09, 8(DI)
	RET

// func ABI0Tinter(v Tinter) (int, float32, [10]byte)
// Reads the number itself: to call the method it would need Go's register ABI.
TEXT ·ABI0Tinter(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

// func ABI0Any(v any) (int, float32, [10]byte)
TEXT ·ABI0Any(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

TEXT ·interface<>(SB), NOSPLIT, $0-38
	MOVQ v_0+0(FP), AX
	MOVQ AX, ·LastWord0(SB)
	MOVQ v_8+8(FP), AX
	MOVQ AX, ·LastWord1(SB)
	MOVQ (AX), AX
	MOVQ (AX), AX
	MOVQ AX, ·Confirmed(SB)
	INCQ ·Calls(SB)
	MOVQ $5151, ret+16(FP)
	MOVL $0x40800000, ret1+24(FP)
	MOVQ $0x0807060504030201, CX
	LEAQ ret2+28(FP), DI
	MOVQ CX, (DI)
	MOVW $0x0a09, 8(DI)
	RET
