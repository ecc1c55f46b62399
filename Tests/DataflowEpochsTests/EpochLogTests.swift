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

    // MARK: Staging, and several epochs in a file

    private static let frame = EpochLog.Frame(kind: 1, rowCount: 1)

    private func stage(_ text: String, whole: Bool, _ log: EpochLog) throws {
        try Array(text.utf8).withUnsafeBytes { if whole { try log.stage(Self.frame, $0) } else { try log.stage($0) } }
    }

    private func append(_ text: String, _ log: EpochLog) throws {
        try Array(text.utf8).withUnsafeBytes { try log.append(Self.frame, $0) }
    }

    private func texts(_ log: EpochLog) throws -> [String] {
        try read(log).map { String(decoding: $0.bytes, as: UTF8.self) }
    }

    @Test func `a staged frame counts once it is accepted, and is written once`() throws {
        let folder = try Folder()
        let log = try EpochLog(creatingIn: folder.path)
        try append("one", log)
        try stage("two thr", whole: false, log)
        #expect(try texts(log) == ["one"])
        try stage("two three", whole: true, log)
        // Again, as after a lost connection.
        try stage("two three", whole: true, log)
        #expect(try texts(log) == ["one"])
        #expect(log.rowCount == 1)
        log.accept()
        #expect(try texts(log) == ["one", "two three"])
        #expect(log.rowCount == 2)
    }

    @Test func `what was staged and refused is overwritten by what was accepted`() throws {
        let folder = try Folder()
        let log = try EpochLog(creatingIn: folder.path, named: "run.log")
        try stage("good bad good", whole: true, log)
        for part in ["good", "Good"] { try append(part, log) }
        try log.seal()
        #expect(try texts(log) == ["good", "Good"])
        let later = try EpochLog(opening: log.name, in: folder.path, length: log.length, serial: log.serial)
        #expect(try texts(later) == ["good", "Good"])
    }

    @Test func `an epoch writes over the one before, whose frames are never taken for its own`() throws {
        let folder = try Folder()
        let log = try EpochLog(creatingIn: folder.path, named: "run.log")
        for text in ["first", "second"] { try append(text, log) }
        try log.seal()
        let old = (length: log.length, serial: log.serial)
        log.reset()
        #expect(log.isEmpty)
        try append("third", log)
        try log.seal()
        #expect(try texts(log) == ["third"])
        // A length or an epoch that is not the file's: the checksum tells.
        for (length, serial) in [(old.length, log.serial), (log.length, old.serial)] {
            let wrong = try EpochLog(opening: "run.log", in: folder.path, length: length, serial: serial)
            let error = #expect(throws: EpochLog.Failure.self) { try read(wrong) }
            #expect(error?.isInputOutput == false)
        }
    }

    @Test func `a large file is given back to the disk when its epoch is over`() throws {
        let folder = try Folder()
        let log = try EpochLog(creatingIn: folder.path, named: "run.log")
        let text = String(repeating: "x", count: 1 << 20)
        for _ in 0..<65 { try append(text, log) }
        try log.seal()
        func size() throws -> Int {
            try #require(FileManager.default.attributesOfItem(atPath: log.path)[.size] as? Int)
        }
        #expect(try size() > 65 << 20)
        log.reset()
        #expect(try size() == 0)
        try append("next", log)
        #expect(try texts(log) == ["next"])
    }
}
