import DataflowEpochs
import DataflowOperator
import Foundation
import Testing

struct EpochLogTests {
    /// A folder of its own, removed with the object.
    final class Folder {
        let path = "/var/tmp/dataflow-epochs-\(UInt64.random(in: 0 ... .max))"
        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }
        var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
    }

    typealias Entry = (frame: EpochLog.Frame, bytes: [UInt8])

    static let entries: [Entry] = [
        (EpochLog.Frame(kind: 1, flags: 2, rowCount: 3), Array("three rows".utf8)),
        (EpochLog.Frame(kind: 3, rowCount: 0), []),
        (EpochLog.Frame(kind: 255, flags: 255, rowCount: 1), [UInt8](repeating: 7, count: 200_000)),
    ]

    private func sealed(in folder: Folder) throws -> EpochLog {
        let log = try EpochLog(creatingIn: folder.path)
        for entry in Self.entries { try entry.bytes.withUnsafeBytes { try log.append(entry.frame, $0) } }
        try log.seal(as: "epoch-a-1.log")
        return log
    }

    private func read(_ log: EpochLog) throws -> [Entry] {
        var found: [Entry] = []
        try log.replay { frame, bytes in found.append((frame, Array(bytes))) }.get()
        return found
    }

    @Test func `a later process reads the frames in order, and nothing behind the length that it was told`() throws {
        let folder = try Folder()
        let log = try sealed(in: folder)
        #expect(log.rowCount == 4)
        #expect(try folder.names == ["epoch-a-1.log"])
        let handle = try #require(FileHandle(forWritingAtPath: folder.path + "/epoch-a-1.log"))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("what a dying process left".utf8))
        let again = try EpochLog(opening: "epoch-a-1.log", in: folder.path, length: log.length)
        let found = try read(again)
        #expect(found.map(\.frame) == Self.entries.map(\.frame))
        #expect(found.map(\.bytes) == Self.entries.map(\.bytes))
    }

    @Test(arguments: [0, 9, 33, 45, 60, 100, 150_000])
    func `a damaged byte is found before its frame is used`(_ position: Int) throws {
        let folder = try Folder()
        let log = try sealed(in: folder)
        let path = folder.path + "/epoch-a-1.log"
        var data = try Data(contentsOf: URL(filePath: path))
        data[position] ^= 0x20
        try data.write(to: URL(filePath: path))
        let again = try EpochLog(opening: "epoch-a-1.log", in: folder.path, length: log.length)
        let error = #expect(throws: EpochLog.Failure.self) { try read(again) }
        #expect(error?.isInputOutput == false)
        #expect(error?.operatorError.code == "epoch_log_damaged")
        #expect(error?.operatorError.retry == .never)
    }

    @Test func `a file that was cut off is refused`() throws {
        let folder = try Folder()
        let log = try sealed(in: folder)
        #expect(truncate(folder.path + "/epoch-a-1.log", off_t(log.length - 1)) == 0)
        #expect(throws: EpochLog.Failure.self) {
            try EpochLog(opening: "epoch-a-1.log", in: folder.path, length: log.length)
        }
    }

    @Test func `what was committed or given up is removed, what is pending stays`() throws {
        let folder = try Folder()
        _ = try sealed(in: folder)
        _ = try EpochLog(creatingIn: folder.path)
        #expect(FileManager.default.createFile(atPath: folder.path + "/something-else", contents: nil))
        EpochLog.removeAll(in: folder.path, except: "epoch-a-1.log")
        #expect(try folder.names == ["epoch-a-1.log", "something-else"])
        EpochLog.remove("epoch-a-1.log", in: folder.path)
        #expect(try folder.names == ["something-else"])
    }

    @Test func `the name of a log holds nothing of a lineage but letters and digits`() {
        #expect(EpochLog.name(lineage: "a/../B-9", epoch: 7) == "epoch-aB9-7.log")
    }
}
