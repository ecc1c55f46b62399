import DataflowCheckpoint
import DataflowOperator

/// State tables as bytes of the state file: batches one after another, each behind its length (8 bytes, little endian).
enum StateTableCoder {
    /// Appends a batch behind its length. O(bytes).
    static func encode(_ batch: RecordBatch, into bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: 8))
        RecordBatchCoder.encode(batch, into: &bytes)
        let length = UInt64(bytes.count - start - 8)
        for byte in 0..<8 { bytes[start + byte] = UInt8(truncatingIfNeeded: length >> (8 * UInt64(byte))) }
    }

    /// The batches of one entry.
    static func read(
        _ entry: CheckpointManifest.Table, of checkpoint: LoadedCheckpoint
    ) throws(CheckpointError) -> [RecordBatch] {
        let bytes = try checkpoint.bytes(of: entry)
        func damaged(_ what: String) -> CheckpointError {
            CheckpointError(
                .damaged,
                "the state table '\(entry.name)' of checkpoint \(checkpoint.manifest.id) cannot be read: \(what)")
        }
        do {
            return try bytes.withUnsafeBytes { bytes in
                var batches: [RecordBatch] = []
                var offset = 0
                while offset < bytes.count {
                    guard bytes.count - offset >= 8 else { throw damaged("it ends within a length") }
                    let length = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                    guard length <= UInt64(bytes.count - offset - 8) else { throw damaged("it ends within a batch") }
                    let range = (offset + 8)..<(offset + 8 + Int(length))
                    batches.append(try RecordBatchCoder.decode(UnsafeRawBufferPointer(rebasing: bytes[range])))
                    offset = range.upperBound
                }
                return batches
            }
        } catch let error as CheckpointError {
            throw error
        } catch {
            throw damaged("\(error)")
        }
    }
}

extension CheckpointManifest.Table.Distribution {
    init(_ distribution: StateTable.Distribution) {
        self =
            switch distribution {
            case .subtask: .subtask
            case .split(let column): .split(column: column)
            case .keyGroup(let column): .keyGroup(column: column)
            }
    }
}

extension StateTable.Distribution {
    init(_ distribution: CheckpointManifest.Table.Distribution) {
        self =
            switch distribution {
            case .subtask: .subtask
            case .split(let column): .split(column: column)
            case .keyGroup(let column): .keyGroup(column: column)
            }
    }
}
