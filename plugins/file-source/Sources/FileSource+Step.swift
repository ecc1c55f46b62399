import DataflowFiles
import DataflowOperator
import Glibc

// Subtasks in step.
extension FileSource {
    /// So much may be read beyond the part that another subtask has read.
    private static let leadByteCount = 4 << 20
    /// The rest before a chunk, at most `maxRests` of them: it must not hold up a barrier, nor matter where another subtask
    /// waits for something else.
    private static let restMicroseconds: UInt32 = 500
    private static let maxRests = 4

    /// Tells the other subtasks which part of its files this one has read, and gives way to those that lag behind: with
    /// two of them on two cores one ended up to a tenth of the time before the other. O(files).
    func keepInStep(_ splits: [Split]) {
        var (read, all) = (0.0, 0.0)
        for split in splits {
            let byteCount = Double(split.identity?.byteCount ?? 0)
            all += byteCount
            read += byteCount * (split.finished ? 1 : split.reader?.file.fraction ?? 0)
        }
        let part = all > 0 ? read / all : 1
        context.progress.update(context.subtask, part)
        guard all > 0, part < 1 else { return }
        let lead = Double(FileSource.leadByteCount) / all
        var rests = 0
        while rests < FileSource.maxRests, part - context.progress.least > lead {
            usleep(FileSource.restMicroseconds)
            rests += 1
        }
    }
}
