import Glibc

/// Hashes of rows over their key columns: the same for equal keys, on every machine and in every version.
///
/// Key groups of checkpoints depend on it, so the function is part of the state format. Mixing is by the folded
/// 128-bit product of wyhash (Wang Yi, 2019). Equal numbers of different types hash differently; `-0.0` is `0.0` and all
/// NaNs are one value.
public enum RowHash {
    @usableFromInline static let seed: UInt64 = 0x9E37_79B9_7F4A_7C15
    @usableFromInline static let k0: UInt64 = 0xA076_1D64_78BD_642F
    @usableFromInline static let k1: UInt64 = 0xE703_7ED1_A0B4_28DB
    @usableFromInline static let nullHash: UInt64 = 0x8EBC_6AF0_9C88_C6E3

    @inlinable
    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// The hash of one 64-bit value.
    @inlinable
    public static func hash(_ value: UInt64) -> UInt64 { mix(value ^ k0, k1) }

    /// The hash of a byte string. O(bytes).
    @inlinable
    public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        guard let base = bytes.baseAddress else { return mix(k0, k1) }
        let count = bytes.count
        var h = UInt64(truncatingIfNeeded: count) ^ k0
        var i = 0
        while i + 16 <= count {
            h = mix(
                base.loadUnaligned(fromByteOffset: i, as: UInt64.self) ^ h,
                base.loadUnaligned(fromByteOffset: i + 8, as: UInt64.self) ^ k1)
            i += 16
        }
        let left = count - i
        var a: UInt64 = 0
        var b: UInt64 = 0
        if left >= 8 {
            a = base.loadUnaligned(fromByteOffset: i, as: UInt64.self)
            b = base.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
        } else if left >= 4 {
            a = UInt64(base.loadUnaligned(fromByteOffset: i, as: UInt32.self))
            b = UInt64(base.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        } else if left > 0 {
            a =
                UInt64(base.load(fromByteOffset: i, as: UInt8.self))
                | UInt64(base.load(fromByteOffset: i + left / 2, as: UInt8.self)) << 8
                | UInt64(base.load(fromByteOffset: count - 1, as: UInt8.self)) << 16
        }
        return mix(a ^ h, b ^ k1)
    }

    /// One hash a row over `columns`, computed a column at a time. O(rows × columns).
    public static func hashes(_ columns: [Column], count: Int) -> Values<UInt64> {
        Values(count: count) { target in
            target.initialize(repeating: seed)
            for column in columns { combine(column, into: target) }
        }
    }

    private static func combine(_ column: Column, into target: UnsafeMutableBufferPointer<UInt64>) {
        switch column.storage {
        case .bool(let values): loop(column, target) { values[$0] ? 1 : 0 }
        case .int32(let values):
            values.withUnsafeBufferPointer { v in loop(column, target) { hash(UInt64(bitPattern: Int64(v[$0]))) } }
        case .int64(let values):
            values.withUnsafeBufferPointer { v in loop(column, target) { hash(UInt64(bitPattern: v[$0])) } }
        case .float32(let values):
            values.withUnsafeBufferPointer { v in loop(column, target) { hash(canonicalBits(Double(v[$0]))) } }
        case .float64(let values):
            values.withUnsafeBufferPointer { v in loop(column, target) { hash(canonicalBits(v[$0])) } }
        case .decimal(let values):
            values.withUnsafeBufferPointer { v in
                loop(column, target) {
                    let bits = UInt128(bitPattern: v[$0])
                    return mix(UInt64(truncatingIfNeeded: bits) ^ k0, UInt64(truncatingIfNeeded: bits >> 64) ^ k1)
                }
            }
        case .view(let values): values.withUnsafeViews { v in loop(column, target) { hash(v.bytes($0)) } }
        case .list(let offsets, let elements):
            let inner = hashes([elements], count: elements.count)
            loop(column, target) { row in
                var h = UInt64(truncatingIfNeeded: Int(offsets[row + 1] - offsets[row]))
                for e in Int(offsets[row])..<Int(offsets[row + 1]) { h = mix(h ^ k0, inner[e] ^ k1) }
                return h
            }
        case .structure(let columns):
            let inner = hashes(columns, count: column.count)
            loop(column, target) { inner[$0] }
        }
    }

    @inline(__always)
    private static func loop(
        _ column: Column, _ target: UnsafeMutableBufferPointer<UInt64>, _ hash: (Int) -> UInt64
    ) {
        if let validity = column.validity {
            for i in 0..<target.count { target[i] = mix(target[i] ^ (validity[i] ? hash(i) : nullHash), k1) }
        } else {
            for i in 0..<target.count { target[i] = mix(target[i] ^ hash(i), k1) }
        }
    }

    /// The bits of a double with one zero and one NaN.
    @inlinable
    static func canonicalBits(_ value: Double) -> UInt64 {
        if value == 0 { return 0 }
        return value.isNaN ? Double.nan.bitPattern : value.bitPattern
    }
}
