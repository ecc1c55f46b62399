import DataflowOperator

/// A thread of its own for tasks that wait in C (libcurl, libpq, the disk), so that they never hold up the cooperative pool.
///
/// Used as a task executor preference: everything nonisolated and every default actor that the task calls runs on the
/// thread. One executor serves one operator instance; a job that blocks delays the other jobs of the same executor only.
package final class BlockingExecutor: TaskExecutor {
    private struct Queue {
        var jobs: [UnownedJob] = []
        var isShutDown = false
    }

    private let queue = Lock(Queue())

    /// Starts the thread.
    package init(name: String) throws(OperatorError) {
        let queue = queue
        let executor = Unowned(self)
        try startThread(name) {
            while true {
                let jobs = queue.wait { queue -> Lock<Queue>.Step<[UnownedJob]> in
                    guard queue.jobs.isEmpty else {
                        let jobs = queue.jobs
                        queue.jobs.removeAll(keepingCapacity: true)
                        return .take(jobs)
                    }
                    return queue.isShutDown ? .take([]) : .wait(until: nil)
                }
                if jobs.isEmpty { return }
                for job in jobs { job.runSynchronously(on: executor.reference) }
            }
        }
    }

    /// The executor's reference for the thread, which must not keep it alive: it ends by ``shutDown()``.
    private struct Unowned: Sendable {
        let reference: UnownedTaskExecutor
        init(_ executor: BlockingExecutor) { reference = executor.asUnownedTaskExecutor() }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.signal { queue in
            precondition(!queue.isShutDown, "a job for an executor that was shut down")
            queue.jobs.append(job)
        }
    }

    /// Ends the thread when its queue is empty. To be called when every task that prefers this executor is over.
    package func shutDown() {
        queue.signal { $0.isShutDown = true }
    }
}
