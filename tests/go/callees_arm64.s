// As callees_amd64.s, for arm64.

#include "textflag.h"

// func ABI0Pointer(v *TintPointer) (int, float32, [10]byte)
TEXT ·ABI0Pointer(SB), NOSPLIT, $0-30
	MOVD v+0(FP), R0
	MOVD (R0), R0
	MOVD (R0), R0
	MOVD R0, ·Confirmed(SB)
	MOVD ·Calls(SB), R1
	ADD $1, R1
	MOVD R1, ·Calls(SB)
	MOVD $5151, R0
	MOVD R0, ret+8(FP)
	MOVD $0x40800000, R0
	MOVW R0, ret1+16(FP)
	MOVD $0x04030201, R0
	MOVW R0, ret2_0+20(FP)
	MOVD $0x08070605, R0
	MOVW R0, ret2_4+24(FP)
	MOVD $0x0a09, R0
	MOVH R0, ret2_8+28(FP)
	RET

// func ABI0Tinter(v Tinter) (int, float32, [10]byte)
TEXT ·ABI0Tinter(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

// func ABI0Any(v any) (int, float32, [10]byte)
TEXT ·ABI0Any(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

TEXT ·interface<>(SB), NOSPLIT, $0-38
	MOVD v_0+0(FP), R0
	MOVD R0, ·LastWord0(SB)
	MOVD v_8+8(FP), R0
	MOVD R0, ·LastWord1(SB)
	MOVD (R0), R0
	MOVD (R0), R0
	MOVD R0, ·Confirmed(SB)
	MOVD ·Calls(SB), R1
	ADD $1, R1
	MOVD R1, ·Calls(SB)
	MOVD $5151, R0
	MOVD R0, ret+16(FP)
	MOVD $0x40800000, R0
	MOVW R0, ret1+24(FP)
	MOVD $0x04030201, R0
	MOVW R0, ret2_0+28(FP)
	MOVD $0x08070605, R0
	MOVW R0, ret2_4+32(FP)
	MOVD $0x0a09, R0
	MOVH R0, ret2_8+36(FP)
	RET
