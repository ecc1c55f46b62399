import Glibc

/// Messages one behind the other in memory, as they go to librdkafka, which reads keys and values in place, and into the epoch
/// log.
///
/// A record: its size (4 bytes), the sizes of key and value (4 each, -1 for null) and of the headers (4), the time in milliseconds (8,
/// 0 for none), its status (1), filled up to 32; then key, value and headers, filled up to a multiple of 8. A header: the sizes of
/// name and value (4 each), name, value. Numbers are little-endian.
///
/// Not Sendable; used on the sink's thread. While librdkafka has messages of it (``pending``), the memory must stay as it is.
final class MessageChunk {
    enum Status: UInt8 {
        case waiting = 0
        case accepted
        /// Refused by the brokers: never sent again.
        case refused
        /// Refused together with others: to be sent alone, to see which one it is.
        case suspect
    }

    struct Message {
        var offset: Int
        var byteCount: Int
        var key: UnsafeRawBufferPointer?
        var value: UnsafeRawBufferPointer?
        var headers: UnsafeRawBufferPointer
        var timestamp: Int64
    }

    static let fixedBytes = 32

    /// What the opaque of its messages begins with; 0 before it was sent.
    var number: UInt32 = 0
    /// Bytes in use.
    private(set) var byteCount = 0
    private(set) var rowCount = 0
    /// How far it has been handed to librdkafka.
    var sentBytes = 0
    /// Messages that librdkafka has and has not reported on.
    var pending = 0
    var hasSuspects = false
    var refusedCount = 0
    private var base: UnsafeMutableRawPointer
    private var capacity: Int

    init(capacity: Int = 64 << 10) {
        self.capacity = max(capacity, 1 << 10)
        base = .allocate(byteCount: self.capacity, alignment: 64)
    }

    /// A copy of the messages of a frame of the log.
    convenience init(copying bytes: UnsafeRawBufferPointer, rowCount: Int) {
        self.init(capacity: bytes.count)
        if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: bytes.count) }
        byteCount = bytes.count
        self.rowCount = rowCount
    }

    deinit {
        base.deallocate()
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

    /// Adds a message; `headers` stand in the form of a record already. Amortised O(bytes).
    @inline(__always)
    func append(
        key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: UnsafeRawBufferPointer, timestamp: Int64
    ) {
        let keyCount = key?.count ?? 0
        let valueCount = value?.count ?? 0
        let total = (MessageChunk.fixedBytes + keyCount + valueCount + headers.count + 7) & ~7
        if byteCount + total > capacity { grow(to: byteCount + total) }
        let record = base + byteCount
        record.storeBytes(of: UInt32(truncatingIfNeeded: total), as: UInt32.self)
        record.storeBytes(of: key == nil ? -1 : Int32(truncatingIfNeeded: keyCount), toByteOffset: 4, as: Int32.self)
        record.storeBytes(
            of: value == nil ? -1 : Int32(truncatingIfNeeded: valueCount), toByteOffset: 8, as: Int32.self)
        record.storeBytes(of: UInt32(truncatingIfNeeded: headers.count), toByteOffset: 12, as: UInt32.self)
        record.storeBytes(of: timestamp, toByteOffset: 16, as: Int64.self)
        record.storeBytes(of: 0, toByteOffset: 24, as: UInt64.self)
        var at = record + MessageChunk.fixedBytes
        if let source = key?.baseAddress { at.copyMemory(from: source, byteCount: keyCount) }
        at += keyCount
        if let source = value?.baseAddress { at.copyMemory(from: source, byteCount: valueCount) }
        at += valueCount
        if let source = headers.baseAddress { at.copyMemory(from: source, byteCount: headers.count) }
        at += headers.count
        // No uninitialised bytes go into the log.
        memset(at, 0, record + total - at)
        byteCount += total
        rowCount += 1
    }

    private func grow(to needed: Int) {
        precondition(pending == 0, "a chunk grows while librdkafka reads it")
        let larger = max(needed, capacity * 2)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 64)
        memory.copyMemory(from: base, byteCount: byteCount)
        base.deallocate()
        base = memory
        capacity = larger
    }

    /// The message at a place; its pointers are valid as long as the chunk is neither changed nor let go.
    @inline(__always)
    func message(at offset: Int) -> Message {
        let record = base + offset
        let keyCount = record.load(fromByteOffset: 4, as: Int32.self)
        let valueCount = record.load(fromByteOffset: 8, as: Int32.self)
        let key = record + MessageChunk.fixedBytes
        let value = key + Int(max(0, keyCount))
        return Message(
            offset: offset, byteCount: Int(record.load(as: UInt32.self)),
            key: keyCount < 0 ? nil : UnsafeRawBufferPointer(start: key, count: Int(keyCount)),
            value: valueCount < 0 ? nil : UnsafeRawBufferPointer(start: value, count: Int(valueCount)),
            headers: UnsafeRawBufferPointer(
                start: value + Int(max(0, valueCount)), count: Int(record.load(fromByteOffset: 12, as: UInt32.self))),
            timestamp: record.load(fromByteOffset: 16, as: Int64.self))
    }

    /// The messages' places, in order. O(1) each.
    @inline(__always)
    func next(after offset: Int) -> Int { offset + Int((base + offset).load(as: UInt32.self)) }

    @inline(__always)
    func status(at offset: Int) -> Status {
        Status(rawValue: (base + offset).load(fromByteOffset: 24, as: UInt8.self)) ?? .waiting
    }

    @inline(__always)
    func setStatus(_ status: Status, at offset: Int) {
        (base + offset).storeBytes(of: status.rawValue, toByteOffset: 24, as: UInt8.self)
    }

    /// To be sent from its beginning by a new client. Messages that were accepted are sent again where `again` says so.
    func rewind(again: Bool) {
        sentBytes = 0
        pending = 0
        guard again else { return }
        var offset = 0
        while offset < byteCount {
            if status(at: offset) == .accepted { setStatus(.waiting, at: offset) }
            offset = next(after: offset)
        }
    }

    /// The messages that were not refused; itself where all are good.
    func accepted() -> MessageChunk {
        guard refusedCount > 0 else { return self }
        let rest = MessageChunk(capacity: byteCount)
        var offset = 0
        while offset < byteCount {
            if status(at: offset) != .refused {
                let message = message(at: offset)
                rest.append(
                    key: message.key, value: message.value, headers: message.headers, timestamp: message.timestamp)
            }
            offset = next(after: offset)
        }
        return rest
    }

    /// Empty again, for the next messages.
    func reuse() {
        precondition(pending == 0, "a chunk is used again while librdkafka reads it")
        byteCount = 0
        rowCount = 0
        sentBytes = 0
        hasSuspects = false
        refusedCount = 0
        number = 0
    }
}

/// What a message takes at the brokers: alone in a batch of version 2 of the format, before compression.
/// Source: Kafka's protocol, "Record Batch".
enum MessageSize {
    private static let batchOverhead = 61

    /// Bytes of a number as a zigzag varint.
    static func varint(_ value: Int) -> Int {
        let zigzag = UInt64(bitPattern: Int64(value << 1 ^ value >> 63))
        return max(1, (64 - zigzag.leadingZeroBitCount + 6) / 7)
    }

    /// - Parameter headers: in the form of a ``MessageChunk``'s record.
    static func alone(key: Int?, value: Int?, headers: UnsafeRawBufferPointer) -> Int {
        var body = 1 + 1 + 1 + varint(key ?? -1) + (key ?? 0) + varint(value ?? -1) + (value ?? 0)
        var count = 0
        var at = 0
        while at + 8 <= headers.count {
            let name = Int(headers.loadUnaligned(fromByteOffset: at, as: Int32.self))
            let text = Int(headers.loadUnaligned(fromByteOffset: at + 4, as: Int32.self))
            body += varint(name) + name + varint(text) + text
            at += 8 + name + text
            count += 1
        }
        body += varint(count)
        return batchOverhead + varint(body) + body
    }
}
