import DataflowCheckpoint
import DataflowOperator
import Testing

@Suite struct `Checkpoint state machine` {
    let source = TaskID(node: "pages", subtask: 0)
    let counts = TaskID(node: "counts", subtask: 0)
    let sink = TaskID(node: "table", subtask: 0)
    var tasks: Set<TaskID> { [source, counts, sink] }
    let first = CheckpointID(1)

    func acknowledgement(_ task: TaskID, commits: Bool = false) -> TaskAcknowledgement {
        let committables = commits ? [CheckpointManifest.Committable(subtask: 0, json: "{}")] : []
        return TaskAcknowledgement(
            task: task, nodes: [.init(name: task.node, type: "t", parallelism: 1, committables: committables)])
    }

    func running(
        interval: Duration? = .seconds(10), restoredFinished: Bool = false
    ) -> CheckpointStateMachine {
        var machine = CheckpointStateMachine(tasks: tasks, interval: interval, restoredFinished: restoredFinished)
        #expect(machine.opened(source, now: .zero) == .none)
        #expect(machine.opened(counts, now: .zero) == .none)
        #expect(machine.opened(sink, now: .zero) == .start)
        return machine
    }

    /// From the barrier to `.complete`, with a sink that commits.
    func complete(_ machine: inout CheckpointStateMachine, _ id: CheckpointID, commits: Bool = true) {
        _ = machine.begun(id)
        #expect(machine.acknowledged(acknowledgement(source), for: id) == (.recorded, .none))
        #expect(machine.acknowledged(acknowledgement(counts), for: id) == (.recorded, .none))
        #expect(machine.acknowledged(acknowledgement(sink, commits: commits), for: id) == (.recorded, .publish(id)))
        if commits {
            #expect(machine.published(id) == .commit(id, [sink]))
            #expect(machine.committed(sink, id) == .markCommitted(id))
            #expect(machine.marked(id, now: .zero) == .complete(id))
        } else {
            #expect(machine.published(id) == .complete(id))
        }
    }

    @Test func `sources start when every task is open`() {
        var machine = running()
        #expect(machine.started() == .none)
        #expect(machine.due == .seconds(10))
    }

    @Test func `a checkpoint begins when the interval has passed and goes its course`() {
        var machine = running()
        #expect(machine.tick(now: .seconds(9)) == .none)
        #expect(machine.tick(now: .seconds(10)) == .begin(.periodic))
        #expect(machine.tick(now: .seconds(11)) == .none, "one at a time")
        complete(&machine, first)
        #expect(machine.inFlight == first)
        #expect(machine.completed(first) == .none)
        #expect(machine.inFlight == nil)
        #expect(machine.tick(now: .seconds(19)) == .none)
        #expect(machine.tick(now: .seconds(20)) == .begin(.periodic))
    }

    @Test func `intervals that were missed are not made up for`() {
        var machine = running()
        #expect(machine.tick(now: .seconds(10)) == .begin(.periodic))
        complete(&machine, first, commits: false)
        #expect(machine.completed(first) == .none)
        #expect(machine.tick(now: .seconds(55)) == .begin(.periodic))
        complete(&machine, CheckpointID(2), commits: false)
        #expect(machine.completed(CheckpointID(2)) == .none)
        #expect(machine.tick(now: .seconds(56)) == .none)
        #expect(machine.due == .seconds(65))
    }

    @Test func `without anything to commit a checkpoint is complete with its manifest`() {
        var machine = running()
        _ = machine.tick(now: .seconds(10))
        complete(&machine, first, commits: false)
        #expect(machine.completed(first) == .none)
    }

    @Test func `late, doubled and unknown acknowledgements change nothing`() {
        var machine = running()
        #expect(machine.acknowledged(acknowledgement(source), for: first) == (.discarded, .none))
        _ = machine.tick(now: .seconds(10))
        _ = machine.begun(first)
        #expect(machine.acknowledged(acknowledgement(source), for: first) == (.recorded, .none))
        #expect(machine.acknowledged(acknowledgement(source), for: first) == (.duplicate, .none))
        #expect(machine.acknowledged(acknowledgement(counts), for: CheckpointID(9)) == (.discarded, .none))
        let stranger = TaskID(node: "stranger", subtask: 7)
        #expect(machine.acknowledged(acknowledgement(stranger), for: first) == (.unknown, .none))
        #expect(machine.waitingFor == [counts, sink])
    }

    @Test func `when every task has ended a last checkpoint says finished`() {
        var machine = running(interval: nil)
        #expect(machine.tick(now: .seconds(1000)) == .none)
        #expect(machine.taskEnded(source) == .none)
        #expect(machine.taskEnded(counts) == .none)
        #expect(machine.taskEnded(sink) == .begin(.endOfInput))
        complete(&machine, first)
        #expect(machine.completed(first) == .finish(.finished))
    }

    @Test func `the end of the last task during a checkpoint lets it complete and then takes the last`() {
        var machine = running()
        _ = machine.tick(now: .seconds(10))
        for task in [source, counts, sink] { #expect(machine.taskEnded(task) == .none) }
        complete(&machine, first)
        #expect(machine.completed(first) == .begin(.endOfInput))
        complete(&machine, CheckpointID(2))
        #expect(machine.completed(CheckpointID(2)) == .finish(.finished))
    }

    @Test func `a stop takes a checkpoint and ends`() {
        var machine = running()
        #expect(machine.stop() == .begin(.stop))
        #expect(machine.stop() == .none, "asked twice")
        complete(&machine, first)
        #expect(machine.completed(first) == .finish(.stopped))
    }

    @Test func `a stop during a checkpoint waits for it`() {
        var machine = running()
        _ = machine.tick(now: .seconds(10))
        #expect(machine.stop() == .none)
        complete(&machine, first)
        #expect(machine.completed(first) == .begin(.stop))
    }

    @Test func `a stop before all tasks are open waits for the start`() {
        var machine = CheckpointStateMachine(tasks: [source], interval: nil)
        #expect(machine.stop() == .none)
        #expect(machine.opened(source, now: .zero) == .start)
        #expect(machine.started() == .begin(.stop))
    }

    @Test func `a restored checkpoint that was committing commits again before the sources start`() {
        var machine = CheckpointStateMachine(tasks: tasks, interval: .seconds(1), recovery: (first, [sink]))
        #expect(machine.opened(source, now: .zero) == .none)
        #expect(machine.opened(counts, now: .zero) == .none)
        #expect(machine.opened(sink, now: .zero) == .commit(first, [sink]))
        #expect(machine.tick(now: .seconds(5)) == .none)
        #expect(machine.committed(sink, first) == .markCommitted(first))
        #expect(machine.marked(first, now: .seconds(5)) == .start)
        #expect(machine.due == .seconds(6))
    }

    @Test func `a finished pipeline started again without new rows ends without a checkpoint`() {
        var machine = running(restoredFinished: true)
        #expect(machine.tick(now: .seconds(100)) == .none)
        #expect(machine.taskEnded(source) == .none)
        #expect(machine.taskEnded(counts) == .none)
        #expect(machine.taskEnded(sink) == .finish(.nothingNew))
    }

    @Test func `a finished pipeline with new rows goes on as any other`() {
        var machine = running(restoredFinished: true)
        machine.sawRows(now: .seconds(3))
        #expect(machine.tick(now: .seconds(13)) == .begin(.periodic))
    }
}

@Suite struct `Checkpoint status` {
    @Test(arguments: [
        (false, false, false, CheckpointStatus.invisible), (false, false, true, .invisible),
        (true, false, false, .ready), (true, false, true, .ready), (true, true, false, .committing),
        (true, true, true, .ready),
    ])
    func `follows from manifest, committables and marker`(
        _ hasManifest: Bool, _ needsCommit: Bool, _ marked: Bool, _ expected: CheckpointStatus
    ) {
        let committables = needsCommit ? [CheckpointManifest.Committable(subtask: 0, json: "1")] : []
        let manifest = CheckpointManifest(
            pipeline: "p", lineage: "l", generation: 1, id: CheckpointID(1), previous: nil, createdAt: 0,
            finished: false, nodes: [.init(name: "n", type: "t", parallelism: 1, committables: committables)])
        #expect(CheckpointStatus(manifest: hasManifest ? manifest : nil, isMarkedCommitted: marked) == expected)
    }
}

@Suite struct `Pending checkpoint` {
    @Test func `puts the parts of a node's subtasks together`() {
        let tasks = (0..<3).map { TaskID(node: "n", subtask: $0) }
        var pending = PendingCheckpoint(barrier(4), tasks: Set(tasks))
        for task in tasks.reversed() {
            let table = CheckpointManifest.Table(
                subtask: task.subtask, name: "counts", version: 1, distribution: .keyGroup(column: 0), rowCount: 1,
                offset: 0, length: 0, crc32: 0)
            let reception = pending.acknowledge(
                TaskAcknowledgement(task: task, nodes: [.init(name: "n", type: "t", parallelism: 3, tables: [table])]),
                for: pending.id)
            #expect(reception == .recorded)
        }
        #expect(pending.isComplete)
        #expect(pending.nodes.count == 1)
        #expect(pending.nodes.first?.tables.map(\.subtask) == [0, 1, 2])
        #expect(pending.committers.isEmpty)
    }
}
