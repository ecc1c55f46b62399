import Foundation
import Glibc

/// A program that a test started; ended at the latest with this object.
///
/// Its output goes to files, so that it never blocks on a reader. It inherits one end of a socket pair: when it has ended,
/// however that came, the other end is at its end, which is how waiting has a timeout.
package final class ChildProcess {
    package enum Exit: Equatable, CustomStringConvertible {
        case code(Int32)
        case signal(Int32)

        package var description: String {
            switch self {
            case .code(let code): "exit code \(code)"
            case .signal(let signal): "signal \(signal)"
            }
        }
    }

    package struct Failure: Error, CustomStringConvertible {
        package var description: String

        package init(description: String) { self.description = description }
    }

    package let pid: pid_t
    private let name: String
    private let folder: TemporaryFolder
    private let lifeline: Int32
    private var exit: Exit?

    /// - Parameter environment: changes to that of this process; nil removes.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String?] = [:], directory: String? = nil
    )
        throws
    {
        name = (program as NSString).lastPathComponent
        folder = try TemporaryFolder()

        var ends: [Int32] = [0, 0]
        // A socket pair, because its ends are closed on exec from the start on: no other child gets one.
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw Failure(description: "socketpair: \(String(cString: strerror(errno)))")
        }
        lifeline = ends[0]
        defer { close(ends[1]) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, folder.path + "/out", O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, folder.path + "/err", O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 3)

        var variables = ProcessInfo.processInfo.environment
        for (name, value) in environment { variables[name] = value }
        var pid: pid_t = 0
        let code = Self.withCStrings([program] + arguments) { arguments in
            Self.withCStrings(variables.map { "\($0.key)=\($0.value)" }) { environment in
                posix_spawnp(&pid, program, &actions, nil, arguments, environment)
            }
        }
        guard code == 0 else {
            close(lifeline)
            throw Failure(description: "cannot start \(program): \(String(cString: strerror(code)))")
        }
        self.pid = pid
    }

    deinit {
        if exit == nil {
            Glibc.kill(pid, SIGKILL)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
        }
        close(lifeline)
    }

    package var output: String { folder.text("out") }
    package var errors: String { folder.text("err") }

    /// Sends `signal`, if the program has not ended.
    package func send(_ signal: Int32) {
        if exit == nil { Glibc.kill(pid, signal) }
    }

    /// Halts the program as SIGSTOP does, until SIGCONT; when this returns none of its threads runs any more.
    package func halt() {
        guard exit == nil else { return }
        Glibc.kill(pid, SIGSTOP)
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WSTOPPED | WEXITED | WNOWAIT) < 0, errno == EINTR {}
    }

    /// Kills the program after `time`.
    ///
    /// - Returns: whether it died of that: false where it had come to its end, perhaps just before the signal.
    /// - Throws: with what it wrote, if it ended otherwise.
    package func kill(after time: Duration) throws -> Bool {
        if wait(timeout: time) == nil {
            send(SIGKILL)
            if wait(timeout: .seconds(10)) == .signal(SIGKILL) { return true }
        }
        try succeed(within: .zero)
        return false
    }

    /// Waits until the program has ended; nil after `timeout`.
    package func wait(timeout: Duration) -> Exit? {
        if let exit { return exit }
        let deadline = ContinuousClock.now + timeout
        while true {
            let rest = max(ContinuousClock.now.duration(to: deadline), .zero)
            let (seconds, attoseconds) = rest.components
            var descriptor = pollfd(fd: lifeline, events: Int16(POLLIN), revents: 0)
            let milliseconds = min(seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1, 1 << 30)
            let ready = poll(&descriptor, 1, Int32(milliseconds))
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { return nil }
            break
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let result: Exit = status & 0x7F == 0 ? .code((status >> 8) & 0xFF) : .signal(status & 0x7F)
        exit = result
        return result
    }

    /// Waits for exit code 0.
    ///
    /// - Throws: with what the program wrote, if it ends otherwise or not in time.
    @discardableResult
    package func succeed(within timeout: Duration) throws -> String {
        let result = wait(timeout: timeout)
        guard result == .code(0) else {
            throw Failure(
                description:
                    "\(name): \(result.map(\.description) ?? "not finished within \(timeout)")\n\(errors.suffix(4000))")
        }
        return output
    }

    private static func withCStrings<Result>(
        _ texts: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers = texts.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("the list has at least the closing nil") }
            return body(base)
        }
    }
}

extension ChildProcess {
    /// The first line of the standard output.
    package func firstLine(within timeout: Duration) throws -> Substring {
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline {
            if let end = output.firstIndex(of: "\n") { return output[..<end] }
            if let exit = wait(timeout: .milliseconds(10)) {
                throw Failure(description: "ended with \(exit) before it wrote a line\n\(errors)")
            }
        }
        throw Failure(description: "no line within \(timeout)\n\(errors)")
    }
}
