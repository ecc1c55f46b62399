import DataflowEndToEnd
import Foundation
import Glibc
import Testing

/// The program as a process: what signals do to it, and how long it takes to start.
@Suite struct SignalTests {
    private let folder: TemporaryFolder
    private let file: String

    init() throws {
        folder = try TemporaryFolder()
        file = folder.path + "/p.yaml"
        let text = """
            pipeline: p
            checkpoint: { interval: 50ms, directory: \(folder.path)/state }
            nodes:
              numbers: { type: generate-source, rate: 1000/s, columns: { n: { sequence: {} } } }
              out: { type: file-sink, from: numbers, path: \(folder.path)/out }
            """
        try text.write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// Waits until the run has written something: then it runs.
    private func startedRun() throws -> ChildProcess {
        let run = try ChildProcess(Repository.program("dataflow"), ["run", file, "--parallelism", "1"])
        let deadline = ContinuousClock.now + .seconds(30)
        while (try? FileManager.default.contentsOfDirectory(atPath: folder.path + "/out"))?.isEmpty != false {
            guard ContinuousClock.now < deadline, run.wait(timeout: .milliseconds(20)) == nil else { break }
        }
        return run
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func `a signal ends the run at a checkpoint with exit code 0, and the next run goes on`(_ signal: Int32) throws {
        let run = try startedRun()
        run.send(signal)
        #expect(run.wait(timeout: .seconds(30)) == .code(0), "\(run.errors)")
        #expect(run.errors.contains("stopping at a checkpoint"))
        #expect(run.errors.contains("p: stopped at a checkpoint"))
        #expect(run.output.isEmpty)
        let next = try ChildProcess(
            Repository.program("dataflow"), ["run", file, "--parallelism", "1", "--limit", "10"])
        #expect(next.wait(timeout: .seconds(30)) == .code(0), "\(next.errors)")
        #expect(next.errors.contains("restored checkpoint"))
    }

    @Test func `a signal that is sent twice at once, as timeout does, is one`() throws {
        let run = try startedRun()
        for signal in [SIGTERM, SIGTERM] { run.send(signal) }
        #expect(run.wait(timeout: .seconds(30)) == .code(0), "\(run.errors)")
        #expect(run.errors.contains("p: stopped at a checkpoint"))
    }

    @Test func `a second signal ends the run at once with exit code 75, and the next run goes on`() throws {
        let run = try startedRun()
        // Both wait while the program is halted, so there is no time for a checkpoint between them.
        for signal in [SIGSTOP, SIGTERM, SIGINT, SIGCONT] { run.send(signal) }
        #expect(run.wait(timeout: .seconds(30)) == .code(75), "\(run.errors)")
        #expect(run.errors.contains("stopped without draining"))
        let next = try ChildProcess(
            Repository.program("dataflow"), ["run", file, "--parallelism", "1", "--limit", "10"])
        #expect(next.wait(timeout: .seconds(30)) == .code(0), "\(next.errors)")
    }

    @Test func `validate starts fast`() throws {
        var best = Duration.seconds(60)
        for _ in 0..<5 {
            let start = ContinuousClock.now
            let program = try ChildProcess(Repository.program("dataflow"), ["validate", file])
            try program.succeed(within: .seconds(30))
            best = min(best, start.duration(to: .now))
        }
        // 40 ms in release mode on an idle machine; the limit leaves room for a debug build on a busy one.
        #expect(best < .milliseconds(400))
    }
}
