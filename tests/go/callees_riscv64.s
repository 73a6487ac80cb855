// As callees_amd64.s, for riscv64.

#include "textflag.h"

// func ABI0Pointer(v *TintPointer) (int, float32, [10]byte)
TEXT ·ABI0Pointer(SB), NOSPLIT, $0-30
	MOV v+0(FP), X10
	MOV (X10), X10
	MOV (X10), X10
	MOV X10, ·Confirmed(SB)
	MOV ·Calls(SB), X11
	ADD $1, X11
	MOV X11, ·Calls(SB)
	MOV $5151, X10
	MOV X10, ret+8(FP)
	MOV $0x40800000, X10
	MOVW X10, ret1+16(FP)
	MOV $0x04030201, X10
	MOVW X10, ret2_0+20(FP)
	MOV $0x08070605, X10
	MOVW X10, ret2_4+24(FP)
	MOV $0x0a09, X10
	MOVH X10, ret2_8+28(FP)
	RET

// func ABI0Tinter(v Tinter) (int, float32, [10]byte)
TEXT ·ABI0Tinter(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

// func ABI0Any(v any) (int, float32, [10]byte)
TEXT ·ABI0Any(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

TEXT ·interface<>(SB), NOSPLIT, $0-38
	MOV v_0+0(FP), X10
	MOV X10, ·LastWord0(SB)
	MOV v_8+8(FP), X10
	MOV X10, ·LastWord1(SB)
	MOV (X10), X10
	MOV (X10), X10
	MOV X10, ·Confirmed(SB)
	MOV ·Calls(SB), X11
	ADD $1, X11
	MOV X11, ·Calls(SB)
	MOV $5151, X10
	MOV X10, ret+16(FP)
	MOV $0x40800000, X10
	MOVW X10, ret1+24(FP)
	MOV $0x04030201, X10
	MOVW X10, ret2_0+28(FP)
	MOV $0x08070605, X10
	MOVW X10, ret2_4+32(FP)
	MOV $0x0a09, X10
	MOVH X10, ret2_8+36(FP)
	RET
