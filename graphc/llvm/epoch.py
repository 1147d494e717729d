"""Many steps in one call, as LLVM text: each step's arrays taken from data that is there.

A feed says how one slot of the pointer table is filled at step k. Its words: how (MODES), the
slot, the source, bytes of a row, rows a step, the row numbers, where rows or values go.

    point   table[slot] = source + k * rows * row bytes
    gather  the rows numbered order[k * rows], ... are copied side by side; table[slot] = there
    write   destination[...] = source[k]: the rate of a schedule, into its cell

A record says where a scalar result of each step is kept: its address, its bytes, the list's start.
"""

from __future__ import annotations

POINT, GATHER, WRITE = 0, 1, 2
FEED, RECORD = 7, 3
"""Words of a feed and of a record."""
DONE = 3
"""The word of the context that tells how many steps were made."""
EPOCH_NAME = "entry_steps"

TEXT = """define i64 @entry_steps(
    ptr %table, ptr %extents, ptr %context, i64 %steps,
    ptr %feeds, i64 %feed.count, ptr %records, i64 %record.count) #0 {
entry:
  %done.at = getelementptr i64, ptr %context, i64 3
  br label %step
step:
  %k = phi i64 [ 0, %entry ], [ %k.next, %recorded ]
  store i64 %k, ptr %done.at, align 8
  %more = icmp slt i64 %k, %steps
  br i1 %more, label %feed, label %end
feed:
  %f = phi i64 [ 0, %step ], [ %f.next, %fed ]
  %f.more = icmp slt i64 %f, %feed.count
  br i1 %f.more, label %fill, label %run
fill:
  %f.first = mul i64 %f, 7
  %how.at = getelementptr i64, ptr %feeds, i64 %f.first
  %how = load i64, ptr %how.at, align 8
  %slot.at = getelementptr i64, ptr %how.at, i64 1
  %slot = load i64, ptr %slot.at, align 8
  %source.at = getelementptr i64, ptr %how.at, i64 2
  %source = load ptr, ptr %source.at, align 8
  %bytes.at = getelementptr i64, ptr %how.at, i64 3
  %bytes = load i64, ptr %bytes.at, align 8
  %rows.at = getelementptr i64, ptr %how.at, i64 4
  %rows = load i64, ptr %rows.at, align 8
  %order.at = getelementptr i64, ptr %how.at, i64 5
  %order = load ptr, ptr %order.at, align 8
  %to.at = getelementptr i64, ptr %how.at, i64 6
  %to = load ptr, ptr %to.at, align 8
  %entry.at = getelementptr ptr, ptr %table, i64 %slot
  %first = mul i64 %k, %rows
  switch i64 %how, label %write [ i64 0, label %point  i64 1, label %gather ]
point:
  %skipped = mul i64 %first, %bytes
  %here = getelementptr i8, ptr %source, i64 %skipped
  store ptr %here, ptr %entry.at, align 8
  br label %fed
write:
  %w.skipped = mul i64 %k, %bytes
  %value = getelementptr i8, ptr %source, i64 %w.skipped
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %value, i64 %bytes, i1 false)
  br label %fed
gather:
  store ptr %to, ptr %entry.at, align 8
  %numbers = getelementptr i64, ptr %order, i64 %first
  br label %row
row:
  %r = phi i64 [ 0, %gather ], [ %r.next, %copy ]
  %r.more = icmp slt i64 %r, %rows
  br i1 %r.more, label %copy, label %fed
copy:
  %number.at = getelementptr i64, ptr %numbers, i64 %r
  %number = load i64, ptr %number.at, align 8
  %from.skipped = mul i64 %number, %bytes
  %from = getelementptr i8, ptr %source, i64 %from.skipped
  %to.skipped = mul i64 %r, %bytes
  %place = getelementptr i8, ptr %to, i64 %to.skipped
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %from, i64 %bytes, i1 false)
  %r.next = add i64 %r, 1
  br label %row
fed:
  %f.next = add i64 %f, 1
  br label %feed
run:
  store i64 0, ptr %context, align 8
  %code = call i64 @entry(ptr %table, ptr %extents, ptr %context)
  %refused = icmp ne i64 %code, 0
  br i1 %refused, label %end, label %record
record:
  %n = phi i64 [ 0, %run ], [ %n.next, %keep ]
  %n.more = icmp slt i64 %n, %record.count
  br i1 %n.more, label %keep, label %recorded
keep:
  %n.first = mul i64 %n, 3
  %scalar.at = getelementptr i64, ptr %records, i64 %n.first
  %scalar = load ptr, ptr %scalar.at, align 8
  %size.at = getelementptr i64, ptr %scalar.at, i64 1
  %size = load i64, ptr %size.at, align 8
  %list.at = getelementptr i64, ptr %scalar.at, i64 2
  %list = load ptr, ptr %list.at, align 8
  %list.skipped = mul i64 %k, %size
  %target = getelementptr i8, ptr %list, i64 %list.skipped
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %scalar, i64 %size, i1 false)
  %n.next = add i64 %n, 1
  br label %record
recorded:
  %k.next = add i64 %k, 1
  br label %step
end:
  %outcome = phi i64 [ 0, %step ], [ %code, %run ]
  ret i64 %outcome
}"""
