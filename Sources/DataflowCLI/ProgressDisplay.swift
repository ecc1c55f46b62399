import DataflowCheckpoint
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import DataflowRuntime

/// How a run goes, on stderr: one live line on a terminal, elsewhere a line every ten seconds.
struct ProgressDisplay: Sendable {
    let runner: PipelineRunner
    let graph: PipelineGraph
    let console: Console

    private static let liveInterval = Duration.milliseconds(250)
    private static let logInterval = Duration.seconds(10)

    /// Shows the progress until the task is cancelled.
    func show() async {
        let isLive = console.isTerminal
        var speed = Speed()
        speed.add(rows: 0, at: .now)
        while !Task.isCancelled {
            do { try await Task.sleep(for: isLive ? Self.liveInterval : Self.logInterval) } catch { break }
            let progress = runner.progress()
            speed.add(rows: Self.rows(progress), at: .now)
            let text = line(progress, rowsPerSecond: speed.rowsPerSecond)
            if isLive { console.setLive(text) } else { console.line(text) }
        }
        console.setLive("")
    }

    /// The rows that the pipeline works on: what leaves the node with the most of them (a page of a hundred rows counts as
    /// a hundred, behind its parse).
    private static func rows(_ progress: RunProgress) -> Int { progress.nodes.map(\.rowsOut).max() ?? 0 }

    private func line(_ progress: RunProgress, rowsPerSecond: Double) -> String {
        var parts = ["\(graph.pipeline) \(Self.clock(progress.elapsed))"]
        switch progress.phase {
        case .starting: parts.append("starting")
        case .running: break
        case .stopping: parts.append("stopping")
        case .restarting(let error, let pause):
            parts.append("starts again in \(Self.rounded(pause)) after: \(SecretMask.maskedURLs(error.message))")
        case .over: parts.append("over")
        }
        let sources = progress.nodes.filter { $0.role == .source }
        let rows = Self.rows(progress)
        for source in sources where source.rowsOut != rows || sources.count > 1 {
            parts.append("\(source.name) \(Self.grouped(source.rowsOut))")
        }
        parts.append("\(Self.grouped(rows)) rows")
        parts.append("\(Self.grouped(Int(rowsPerSecond))) rows/s")
        if let lag = Self.lag(progress) { parts.append("lag \(lag)") }
        let errors = progress.nodes.reduce(0) { $0 + $1.errorRows }
        if errors > 0 { parts.append("\(Self.grouped(errors)) errors") }
        if let last = progress.checkpoints.last, let at = progress.checkpoints.lastCompletedAt {
            let age = Self.rounded(at.duration(to: .now))
            let took = progress.checkpoints.lastDuration.map { ", took \(Self.rounded($0))" } ?? ""
            parts.append("checkpoint \(last) \(age) ago\(took)")
        } else if let restored = progress.restoredFrom {
            parts.append("none since checkpoint \(restored)")
        } else {
            parts.append("no checkpoint yet")
        }
        if progress.restarts > 0 { parts.append("\(progress.restarts) restart\(progress.restarts == 1 ? "" : "s")") }
        return parts.joined(separator: " · ")
    }

    /// How far event time is behind the clock, where it flows.
    private static func lag(_ progress: RunProgress) -> String? {
        guard let slowest = progress.nodes.compactMap(\.watermark).filter({ $0 != .max }).min() else { return nil }
        let (behind, overflow) = SystemClock().wallMicroseconds.subtractingReportingOverflow(slowest)
        return overflow ? nil : rounded(.microseconds(max(behind, 0)))
    }

    /// What the run did, when it is over.
    func finish(_ summary: RunSummary) {
        let elapsed = runner.progress().elapsed
        let outcome: String =
            switch summary.outcome {
            case .finished where summary.wasDrained: "drained: what was read is written, open windows are closed"
            case .finished: "finished: all input is read and written"
            case .stopped: "stopped at a checkpoint: the next start goes on from there"
            case .nothingNew: "nothing new to read"
            }
        let restarts = summary.restarts > 0 ? ", \(summary.restarts) restart\(summary.restarts == 1 ? "" : "s")" : ""
        console.line("\(graph.pipeline): \(outcome), after \(Self.rounded(elapsed))\(restarts)")
        let nodes = runner.progress().nodes
        guard summary.outcome != .nothingNew, !nodes.isEmpty else { return }
        let header = ["node", "in", "out", "filtered", "late", "errors"]
        let rows = nodes.map { node in
            [node.name] + [node.rowsIn, node.rowsOut, node.filtered, node.late, node.errorRows].map(Self.grouped)
        }
        let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
        for row in [header] + rows {
            let cells = row.enumerated().map { column, text in
                let margin = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + margin : margin + text
            }
            console.line("  " + cells.joined(separator: "  "))
        }
        for node in nodes where node.spilledBytes > 0 {
            console.line(
                "  \(node.name) wrote \(ByteSize(bytes: node.spilledBytes).roundedDescription) of state to disk, beyond `memory`"
            )
        }
    }

    // MARK: Words

    /// `1,234,567`.
    private static func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(abs(number)).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + String(text.reversed())
    }

    /// `00:01:23`.
    private static func clock(_ duration: Duration) -> String {
        let seconds = Int(duration.inSeconds)
        return [seconds / 3600, seconds / 60 % 60, seconds % 60].map { ($0 < 10 ? "0" : "") + "\($0)" }.joined(
            separator: ":")
    }

    /// `35ms`, `4.2s`, `3m12s`: about two digits.
    private static func rounded(_ duration: Duration) -> String {
        let seconds = duration.inSeconds
        if seconds < 1 { return "\(Int(seconds * 1000))ms" }
        if seconds < 60 { return "\((seconds * 10).rounded() / 10)s" }
        return Duration.seconds(Int64(seconds)).unitDescription
    }
}

/// Rows a second over the last seconds.
private struct Speed {
    private var samples: [(rows: Int, at: ContinuousClock.Instant)] = []

    mutating func add(rows: Int, at instant: ContinuousClock.Instant) {
        // A restart begins counting anew.
        if let last = samples.last, rows < last.rows { samples = [] }
        samples.append((rows, instant))
        while samples.count > 2, samples[0].at.duration(to: instant) > .seconds(10) { samples.removeFirst() }
    }

    var rowsPerSecond: Double {
        guard let first = samples.first, let last = samples.last, last.at > first.at else { return 0 }
        return Double(last.rows - first.rows) / first.at.duration(to: last.at).inSeconds
    }
}
