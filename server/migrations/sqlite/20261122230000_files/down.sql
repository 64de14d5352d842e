DROP TABLE upload;
DROP TABLE file_share;
DROP TABLE file;
