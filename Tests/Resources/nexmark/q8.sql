select p.id, p.name, p.starttime as window_start
from (
  select id, name, date_bin('10 seconds', date_time, '1970-01-01Z') as starttime from person group by 1, 2, 3
) p join (
  select seller, date_bin('10 seconds', date_time, '1970-01-01Z') as starttime from auction group by 1, 2
) a on p.id = a.seller and p.starttime = a.starttime
