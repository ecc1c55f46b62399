import DataflowEndToEnd
import Glibc

/// What a program suffers that runs with the library `CFaults` preloaded: by way of a file that both map. Its layout is that
/// of `struct dataflow_faults`: three 64-bit numbers, and the folder whose disk can become full.
package final class ProgramFaults {
    private static let folderOffset = 24
    private static let size = folderOffset + 4096

    private static let library = Repository.program("libCFaults.so")

    private let path: String
    private let shared: UnsafeMutableRawPointer

    /// - Parameter checkpoints: the folder whose disk can become full.
    package init(in folder: String, checkpoints: String) throws {
        path = folder + "/faults"
        guard access(ProgramFaults.library, R_OK) == 0 else {
            throw ChildProcess.Failure(
                description: "\(ProgramFaults.library) is missing: `swift build --product CFaults` makes it")
        }
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        guard descriptor >= 0, ftruncate(descriptor, off_t(ProgramFaults.size)) == 0,
            let memory = mmap(nil, ProgramFaults.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            memory != MAP_FAILED
        else { throw ChildProcess.Failure(description: "cannot map \(path): \(String(cString: strerror(errno)))") }
        shared = memory
        UnsafeMutableRawBufferPointer(start: shared + ProgramFaults.folderOffset, count: 4095)
            .copyBytes(from: checkpoints.utf8.prefix(4095))
    }

    deinit { munmap(shared, ProgramFaults.size) }

    /// What the program is to be started with.
    package var environment: [String: String?] {
        ["LD_PRELOAD": ProgramFaults.library, "DATAFLOW_FAULTS": path]
    }

    package var clockOffset: Duration = .zero {
        didSet { shared.storeBytes(of: Int64(clockOffset / .nanoseconds(1)), toByteOffset: 0, as: Int64.self) }
    }

    /// How much longer each fsync takes.
    package var syncDelay: Duration = .zero {
        didSet { shared.storeBytes(of: Int64(syncDelay / .microseconds(1)), toByteOffset: 8, as: Int64.self) }
    }

    package var isDiskFull = false {
        didSet { shared.storeBytes(of: isDiskFull ? 1 : 0, toByteOffset: 16, as: Int64.self) }
    }
}
