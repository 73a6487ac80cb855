// As callees_amd64.s, for s390x, which is big-endian.

#include "textflag.h"

// func ABI0Pointer(v *TintPointer) (int, float32, [10]byte)
TEXT ·ABI0Pointer(SB), NOSPLIT, $0-30
	MOVD v+0(FP), R2
	MOVD (R2), R2
	MOVD (R2), R2
	MOVD R2, ·Confirmed(SB)
	MOVD ·Calls(SB), R3
	ADD $1, R3
	MOVD R3, ·Calls(SB)
	MOVD $5151, R2
	MOVD R2, ret+8(FP)
	MOVD $0x40800000, R2
	MOVW R2, ret1+16(FP)
	MOVD $0x01020304, R2
	MOVW R2, ret2_0+20(FP)
	MOVD $0x05060708, R2
	MOVW R2, ret2_4+24(FP)
	MOVD $0x090a, R2
	MOVH R2, ret2_8+28(FP)
	RET

// func ABI0Tinter(v Tinter) (int, float32, [10]byte)
TEXT ·ABI0Tinter(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

// func ABI0Any(v any) (int, float32, [10]byte)
TEXT ·ABI0Any(SB), NOSPLIT, $0-38
	JMP ·interface<>(SB)

TEXT ·interface<>(SB), NOSPLIT, $0-38
	MOVD v_0+0(FP), R2
	MOVD R2, ·LastWord0(SB)
	MOVD v_8+8(FP), R2
	MOVD R2, ·LastWord1(SB)
	MOVD (R2), R2
	MOVD (R2), R2
	MOVD R2, ·Confirmed(SB)
	MOVD ·Calls(SB), R3
	ADD $1, R3
	MOVD R3, ·Calls(SB)
	MOVD $5151, R2
	MOVD R2, ret+16(FP)
	MOVD $0x40800000, R2
	MOVW R2, ret1+24(FP)
	MOVD $0x01020304, R2
	MOVW R2, ret2_0+28(FP)
	MOVD $0x05060708, R2
	MOVW R2, ret2_4+32(FP)
	MOVD $0x090a, R2
	MOVH R2, ret2_8+36(FP)
	RET
