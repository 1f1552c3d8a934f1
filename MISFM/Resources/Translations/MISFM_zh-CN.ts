<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN" sourcelanguage="en">
<context>
    <name>Finetune</name>
    <message>
        <source> corrections</source>
        <translation> 次修正后</translation>
    </message>
    <message>
        <source>Add case</source>
        <translation>添加病例</translation>
    </message>
    <message>
        <source>Add labels</source>
        <translation>添加标注</translation>
    </message>
    <message>
        <source>Add the volume that is chosen in the tab Segment, with its segmentation, as a labelled case.</source>
        <translation>将“分割”页中所选的体数据及其分割作为已标注病例添加。</translation>
    </message>
    <message>
        <source>Add volume files without labels, to be segmented and corrected case by case.</source>
        <translation>添加没有标注的体数据文件，之后逐例分割并修正。</translation>
    </message>
    <message>
        <source>Add volumes…</source>
        <translation>添加体数据…</translation>
    </message>
    <message>
        <source>Again after:</source>
        <translation>再次训练于：</translation>
    </message>
    <message>
        <source>Bring an earlier version of the model back.</source>
        <translation>恢复该模型的较早版本。</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Check</source>
        <translation>检查</translation>
    </message>
    <message>
        <source>Click a case to open it.</source>
        <translation>点击病例即可打开。</translation>
    </message>
    <message>
        <source>Click a line to go to the place; Mend offers what can be done.</source>
        <translation>单击一行可转到该处；“处理”会列出可做的事。</translation>
    </message>
    <message>
        <source>Correct</source>
        <translation>修正</translation>
    </message>
    <message>
        <source>Corrections after which the training goes on by itself; 0 for never.</source>
        <translation>修正多少例之后自动继续训练；0 表示从不。</translation>
    </message>
    <message>
        <source>Delete this model; nothing else is lost.</source>
        <translation>删除此模型；其他内容不受影响。</translation>
    </message>
    <message>
        <source>Discard</source>
        <translation>放弃</translation>
    </message>
    <message>
        <source>Do not use this case.</source>
        <translation>不使用此病例。</translation>
    </message>
    <message>
        <source>Do not wait for the proposal.</source>
        <translation>不再等待建议。</translation>
    </message>
    <message>
        <source>Done</source>
        <translation>完成</translation>
    </message>
    <message>
        <source>Double-click a case to open it.</source>
        <translation>双击病例即可打开。</translation>
    </message>
    <message>
        <source>Earlier versions</source>
        <translation>较早版本</translation>
    </message>
    <message>
        <source>End the training.</source>
        <translation>结束训练。</translation>
    </message>
    <message>
        <source>Fine-tune</source>
        <translation>微调</translation>
    </message>
    <message>
        <source>Keep</source>
        <translation>保留</translation>
    </message>
    <message>
        <source>Keep the labels as they are now and go on with the next case (Ctrl+D).</source>
        <translation>保存当前标注并继续下一例（Ctrl+D）。</translation>
    </message>
    <message>
        <source>Leave out</source>
        <translation>排除</translation>
    </message>
    <message>
        <source>Less is trained faster, and forgets less; all learns most.</source>
        <translation>训练的部分越少越快，遗忘也越少；全部训练学得最多。</translation>
    </message>
    <message>
        <source>Make an empty training set in a new folder.</source>
        <translation>在新文件夹中建立空的训练集。</translation>
    </message>
    <message>
        <source>Mend</source>
        <translation>处理</translation>
    </message>
    <message>
        <source>Minutes:</source>
        <translation>分钟：</translation>
    </message>
    <message>
        <source>Name of the model in the list; what has this name already becomes an earlier version.</source>
        <translation>模型在列表中的名称；已有的同名模型将成为较早版本。</translation>
    </message>
    <message>
        <source>Name:</source>
        <translation>名称：</translation>
    </message>
    <message>
        <source>New…</source>
        <translation>新建…</translation>
    </message>
    <message>
        <source>Next case</source>
        <translation>下一例</translation>
    </message>
    <message>
        <source>Next is:</source>
        <translation>下一例为：</translation>
    </message>
    <message>
        <source>Not drawn here:</source>
        <translation>此例未勾画：</translation>
    </message>
    <message>
        <source>Open a training set, or copy a data set (nnU-Net, Decathlon, folders of pairs) into a new one.</source>
        <translation>打开训练集，或将数据集（nnU-Net、Decathlon、成对的文件夹）复制到新的训练集中。</translation>
    </message>
    <message>
        <source>Open the next unlabelled case with what the model proposes.</source>
        <translation>打开下一个未标注病例，并显示模型的建议。</translation>
    </message>
    <message>
        <source>Open…</source>
        <translation>打开…</translation>
    </message>
    <message>
        <source>Pause</source>
        <translation>暂停</translation>
    </message>
    <message>
        <source>Plot how much the proposals had to be corrected, case by case.</source>
        <translation>逐例绘制建议需要修正的程度。</translation>
    </message>
    <message>
        <source>Plot the Dice of every label on the held-out cases.</source>
        <translation>绘制每个标签在留出病例上的 Dice。</translation>
    </message>
    <message>
        <source>Plot what the training makes small.</source>
        <translation>绘制训练所最小化的损失。</translation>
    </message>
    <message>
        <source>Put the model into the list of the tab Segment.</source>
        <translation>将模型放入“分割”页的列表。</translation>
    </message>
    <message>
        <source>Read all labelled cases and list what would spoil a training.</source>
        <translation>读取所有已标注病例，列出会影响训练的问题。</translation>
    </message>
    <message>
        <source>Show curves</source>
        <translation>显示曲线</translation>
    </message>
    <message>
        <source>Show loss</source>
        <translation>显示损失</translation>
    </message>
    <message>
        <source>Show progress</source>
        <translation>显示进展</translation>
    </message>
    <message>
        <source>Show what the network sees in a held-out case while it learns.</source>
        <translation>在训练过程中显示网络在某个留出病例中看到的内容。</translation>
    </message>
    <message>
        <source>Start from:</source>
        <translation>起点：</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>停止</translation>
    </message>
    <message>
        <source>Stop after this step; goes on later with the same numbers.</source>
        <translation>在本步之后停止；以后可用相同数值继续。</translation>
    </message>
    <message>
        <source>The cases that a model learns from, in a folder of their own.</source>
        <translation>供模型学习的病例，位于单独的文件夹中。</translation>
    </message>
    <message>
        <source>Tick a label that nobody has drawn in this case: its absence is then not learnt.</source>
        <translation>勾选此病例中无人勾画的标签：这样就不会学习它的缺失。</translation>
    </message>
    <message>
        <source>Train:</source>
        <translation>训练：</translation>
    </message>
    <message>
        <source>Training set:</source>
        <translation>训练集：</translation>
    </message>
    <message>
        <source>Watch</source>
        <translation>观察</translation>
    </message>
    <message>
        <source>What can be done about the chosen line with one click.</source>
        <translation>对所选行可一键完成的处理。</translation>
    </message>
    <message>
        <source>What the training starts from: a model, a pretrained start, a published checkpoint, or nothing.</source>
        <translation>训练的起点：模型、预训练起点、已发布的检查点，或从零开始。</translation>
    </message>
    <message>
        <source>Where to look</source>
        <translation>检查位置</translation>
    </message>
    <message>
        <source>Which unlabelled case comes next. One that somebody else who shares the set has open comes last.</source>
        <translation>下一个未标注的病例。共享该训练集的其他人已打开的病例排在最后。</translation>
    </message>
    <message>
        <source>never</source>
        <translation>从不</translation>
    </message>
</context>
<context>
    <name>Jobs.CommandLine</name>
    <message>
        <source>The command is in the clipboard, but {but}.</source>
        <translation>命令已复制到剪贴板，但{but}。</translation>
    </message>
    <message>
        <source>The command is in the clipboard.</source>
        <translation>命令已复制到剪贴板。</translation>
    </message>
    <message>
        <source>it segments one frame, not the sequence</source>
        <translation>它只分割一帧，而不是整个序列</translation>
    </message>
    <message>
        <source>it segments the whole volume, not the region</source>
        <translation>它分割整个体数据，而不是所选区域</translation>
    </message>
    <message>
        <source>save the volume as {file} first</source>
        <translation>请先将体数据另存为 {file}</translation>
    </message>
</context>
<context>
    <name>Jobs.Failures</name>
    <message>
        <source>Free some space on the disk, or choose another temporary folder in Slicer's settings.</source>
        <translation>请释放一些磁盘空间，或在 Slicer 的设置中选择其他临时文件夹。</translation>
    </message>
    <message>
        <source>Load it again to segment it.</source>
        <translation>请重新加载后再分割。</translation>
    </message>
    <message>
        <source>Report it with Copy report.</source>
        <translation>请用“复制报告”反馈。</translation>
    </message>
    <message>
        <source>The files for the job cannot be written or read: {error}</source>
        <translation>无法写入或读取任务文件：{error}</translation>
    </message>
    <message>
        <source>The volume was removed from the scene while it was segmented.</source>
        <translation>分割过程中体数据已从场景中删除。</translation>
    </message>
    <message>
        <source>Unexpected {kind}: {message}</source>
        <translation>意外错误 {kind}：{message}</translation>
    </message>
</context>
<context>
    <name>Jobs.SegmentTask</name>
    <message>
        <source>Choose a model.</source>
        <translation>请选择模型。</translation>
    </message>
    <message>
        <source>No model is chosen.</source>
        <translation>未选择模型。</translation>
    </message>
    <message>
        <source>{volume}, frame {number}</source>
        <translation>{volume}，第 {number} 帧</translation>
    </message>
</context>
<context>
    <name>MISFM</name>
    <message>
        <source> mm</source>
        <translation> mm</translation>
    </message>
    <message>
        <source>3D:</source>
        <translation>三维：</translation>
    </message>
    <message>
        <source>A box; drag its handles in the slices.</source>
        <translation>一个方框；在切片中拖动其控制点。</translation>
    </message>
    <message>
        <source>A new segmentation, or one to update: segments of the same name are replaced, all others stay.</source>
        <translation>新建分割，或更新已有分割：同名分割段会被替换，其余保持不变。</translation>
    </message>
    <message>
        <source>Add to set</source>
        <translation>加入训练集</translation>
    </message>
    <message>
        <source>Add to training set: the volume with these labels, once they are correct.</source>
        <translation>加入训练集：标注正确后，将体数据连同这些标注加入。</translation>
    </message>
    <message>
        <source>Adds a model from a file or folder to your models.</source>
        <translation>从文件或文件夹添加模型。</translation>
    </message>
    <message>
        <source>Adds a volume with the uncertainty and a list of places to look at; not for sequences.</source>
        <translation>添加一个不确定性体数据和一个需要查看的位置列表；不适用于序列。</translation>
    </message>
    <message>
        <source>All</source>
        <translation>全部</translation>
    </message>
    <message>
        <source>All frames of the sequence</source>
        <translation>序列的所有帧</translation>
    </message>
    <message>
        <source>Automatic takes a GPU if one works.</source>
        <translation>“自动”会在 GPU 可用时使用 GPU。</translation>
    </message>
    <message>
        <source>Best</source>
        <translation>最佳</translation>
    </message>
    <message>
        <source>Brings back the segmentation as it was before the last update.</source>
        <translation>恢复上次更新之前的分割。</translation>
    </message>
    <message>
        <source>CPU threads:</source>
        <translation>CPU 线程：</translation>
    </message>
    <message>
        <source>CT</source>
        <translation>CT</translation>
    </message>
    <message>
        <source>Check set-up</source>
        <translation>检查环境</translation>
    </message>
    <message>
        <source>Click a place to see it in the slices; Ctrl+Down goes to the next one.</source>
        <translation>点击一个位置即可在切片中查看；按 Ctrl+↓ 转到下一个。</translation>
    </message>
    <message>
        <source>Click a row to see it in the slices.</source>
        <translation>点击一行即可在切片中查看。</translation>
    </message>
    <message>
        <source>Copies the command that does the same in a terminal or on a cluster.</source>
        <translation>复制在终端或集群上执行相同操作的命令。</translation>
    </message>
    <message>
        <source>Copies versions, options and the log, without names of people or volumes and without voxels. The logs of the last runs are behind Open logs in Set-up.</source>
        <translation>复制版本、选项和日志，不含人员或体数据的名称，也不含体素。最近几次运行的日志可在“环境”中用“打开日志”查看。</translation>
    </message>
    <message>
        <source>Copy as command</source>
        <translation>复制为命令</translation>
    </message>
    <message>
        <source>Copy report</source>
        <translation>复制报告</translation>
    </message>
    <message>
        <source>Deletes one of your own models.</source>
        <translation>删除您自己的一个模型。</translation>
    </message>
    <message>
        <source>Device:</source>
        <translation>设备：</translation>
    </message>
    <message>
        <source>Download</source>
        <translation>下载</translation>
    </message>
    <message>
        <source>Downloads the model and adds it to your models; it is checked before it is used.</source>
        <translation>下载该模型并添加到您的模型中；使用前会先校验。</translation>
    </message>
    <message>
        <source>Edit</source>
        <translation>编辑</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>导出</translation>
    </message>
    <message>
        <source>Export…</source>
        <translation>导出…</translation>
    </message>
    <message>
        <source>Fast</source>
        <translation>快速</translation>
    </message>
    <message>
        <source>Fewer leave the computer responsive.</source>
        <translation>线程较少时电脑仍能流畅使用。</translation>
    </message>
    <message>
        <source>Frames:</source>
        <translation>帧：</translation>
    </message>
    <message>
        <source>Free memory</source>
        <translation>释放内存</translation>
    </message>
    <message>
        <source>Import…</source>
        <translation>导入…</translation>
    </message>
    <message>
        <source>Labels are kept only inside this segment.</source>
        <translation>只保留此分割段内部的标签。</translation>
    </message>
    <message>
        <source>MR</source>
        <translation>MR</translation>
    </message>
    <message>
        <source>Makes a box as large as the volume; pull its handles in the slices.</source>
        <translation>新建与体数据同样大小的方框；在切片中拖动其控制点。</translation>
    </message>
    <message>
        <source>Makes surfaces and shows them in the 3D view.</source>
        <translation>生成表面并在三维视图中显示。</translation>
    </message>
    <message>
        <source>Margin:</source>
        <translation>边距：</translation>
    </message>
    <message>
        <source>Mine</source>
        <translation>我的</translation>
    </message>
    <message>
        <source>Model:</source>
        <translation>模型：</translation>
    </message>
    <message>
        <source>Models</source>
        <translation>模型</translation>
    </message>
    <message>
        <source>New</source>
        <translation>新建</translation>
    </message>
    <message>
        <source>New segmentation</source>
        <translation>新建分割</translation>
    </message>
    <message>
        <source>Normal</source>
        <translation>标准</translation>
    </message>
    <message>
        <source>Only models for CT</source>
        <translation>仅显示 CT 模型</translation>
    </message>
    <message>
        <source>Only models for MR</source>
        <translation>仅显示 MR 模型</translation>
    </message>
    <message>
        <source>Only models that you trained or imported</source>
        <translation>仅显示您训练或导入的模型</translation>
    </message>
    <message>
        <source>Only what is ticked is segmented; nothing ticked means all. Of several networks only those that are needed are run.</source>
        <translation>只分割勾选的结构；不勾选则分割全部。有多个网络时只运行需要的网络。</translation>
    </message>
    <message>
        <source>Only:</source>
        <translation>仅：</translation>
    </message>
    <message>
        <source>Open logs</source>
        <translation>打开日志</translation>
    </message>
    <message>
        <source>Opens the segmentation in the Segment Editor.</source>
        <translation>在分割编辑器中打开此分割。</translation>
    </message>
    <message>
        <source>Options</source>
        <translation>选项</translation>
    </message>
    <message>
        <source>Overlay</source>
        <translation>叠加显示</translation>
    </message>
    <message>
        <source>PCT-Net and Volume Fusion are the work of Guotai Wang and colleagues: arXiv 2306.16925 and IEEE Transactions on Image Processing 34, 6041-6052 (2025), doi 10.1109/TIP.2025.3610249.</source>
        <translation>PCT-Net 与 Volume Fusion 由王国泰及其同事提出：arXiv 2306.16925；IEEE Transactions on Image Processing 34, 6041-6052 (2025)，doi 10.1109/TIP.2025.3610249。</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation>质量：</translation>
    </message>
    <message>
        <source>Queue</source>
        <translation>排队</translation>
    </message>
    <message>
        <source>ROI:</source>
        <translation>ROI：</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>删除</translation>
    </message>
    <message>
        <source>Restore previous</source>
        <translation>恢复之前的结果</translation>
    </message>
    <message>
        <source>Result:</source>
        <translation>结果：</translation>
    </message>
    <message>
        <source>Search</source>
        <translation>搜索</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>分割</translation>
    </message>
    <message>
        <source>Segment CT and MR volumes with PCT-Net, pretrain it with Volume Fusion on volumes without labels, and fine-tune it on few labels. Everything runs on this computer. Not for clinical use. See the {link_start}documentation{link_end}.</source>
        <translation>使用 PCT-Net 分割 CT 和 MR 体数据，用 Volume Fusion 在无标注体数据上预训练，并用少量标注微调。所有计算都在本机进行。不得用于临床。参见{link_start}文档{link_end}。</translation>
    </message>
    <message>
        <source>Segment all of the volume, or only a part: quicker, and nothing is found elsewhere.</source>
        <translation>分割整个体数据或其中一部分：更快，且不会在别处得到结果。</translation>
    </message>
    <message>
        <source>Segment this too when the running job is done.</source>
        <translation>当前任务完成后再分割此项。</translation>
    </message>
    <message>
        <source>Segment:</source>
        <translation>分割段：</translation>
    </message>
    <message>
        <source>Segments a drawn sample with the bundled model; nothing in the scene changes.</source>
        <translation>用自带模型分割一个合成样本；场景不会改变。</translation>
    </message>
    <message>
        <source>Select a volume</source>
        <translation>选择体数据</translation>
    </message>
    <message>
        <source>Select an ROI</source>
        <translation>选择 ROI</translation>
    </message>
    <message>
        <source>Self-check</source>
        <translation>自检</translation>
    </message>
    <message>
        <source>Set-up</source>
        <translation>环境</translation>
    </message>
    <message>
        <source>Show 3D</source>
        <translation>显示三维</translation>
    </message>
    <message>
        <source>Show when done</source>
        <translation>完成后显示</translation>
    </message>
    <message>
        <source>Show where the model is unsure</source>
        <translation>显示模型不确定之处</translation>
    </message>
    <message>
        <source>Shows over the image where the model is unsure: the brighter, the less sure.</source>
        <translation>在图像上叠加显示模型不确定之处：越亮越不确定。</translation>
    </message>
    <message>
        <source>Shows the folder with the logs of the last runs.</source>
        <translation>显示最近几次运行的日志所在的文件夹。</translation>
    </message>
    <message>
        <source>Shows what MISFM needs and what is missing.</source>
        <translation>显示 MISFM 需要什么、缺少什么。</translation>
    </message>
    <message>
        <source>Speed:</source>
        <translation>速度：</translation>
    </message>
    <message>
        <source>The CT or MR volume to segment; Ctrl+PgDown goes to the next one.</source>
        <translation>要分割的 CT 或 MR 体数据；按 Ctrl+PgDown 切换到下一个。</translation>
    </message>
    <message>
        <source>Unloads the model that is kept ready for the next run, also from the GPU.</source>
        <translation>卸载为下次运行保留的模型，也释放 GPU 显存。</translation>
    </message>
    <message>
        <source>Volume:</source>
        <translation>体数据：</translation>
    </message>
    <message>
        <source>What the model sees around the part: more gives it context.</source>
        <translation>模型在该部分周围能看到的范围：越大，上下文越多。</translation>
    </message>
    <message>
        <source>What will be segmented. Models tells more about each.</source>
        <translation>要分割的内容。“模型”一栏有每个模型的详细说明。</translation>
    </message>
    <message>
        <source>Where:</source>
        <translation>范围：</translation>
    </message>
    <message>
        <source>Writes the model to one file, for another computer.</source>
        <translation>将模型写成一个文件，供其他电脑使用。</translation>
    </message>
    <message>
        <source>Writes the result for other programs.</source>
        <translation>将结果写出供其他程序使用。</translation>
    </message>
</context>
<context>
    <name>MISFMSlicer.LibraryMessages</name>
    <message>
        <source>A model cannot be called {name}: a model that comes with MISFM has this name, or it has characters that are not allowed.</source>
        <translation>模型不能命名为 {name}：MISFM 自带的模型已使用此名称，或名称中有不允许的字符。</translation>
    </message>
    <message>
        <source>Ask for the model under another name.</source>
        <translation>请索取使用其他名称的模型。</translation>
    </message>
    <message>
        <source>Check that it is there and that you may use it.</source>
        <translation>请检查它是否存在，以及您是否有权使用。</translation>
    </message>
    <message>
        <source>Check that you may read it.</source>
        <translation>请检查您是否有读取权限。</translation>
    </message>
    <message>
        <source>Check the network and its proxy, or download the file on another computer and add it with Import.</source>
        <translation>请检查网络及其代理，或在其他电脑上下载该文件，再用“导入”添加。</translation>
    </message>
    <message>
        <source>Choose a folder where you may write.</source>
        <translation>请选择有写入权限的文件夹。</translation>
    </message>
    <message>
        <source>Choose another device in Options.</source>
        <translation>请在“选项”中选择其他设备。</translation>
    </message>
    <message>
        <source>Choose another model.</source>
        <translation>请选择其他模型。</translation>
    </message>
    <message>
        <source>Choose the CPU in Options.</source>
        <translation>请在“选项”中选择 CPU。</translation>
    </message>
    <message>
        <source>Choose the folder or zip of a model, or a published .pt file.</source>
        <translation>请选择模型的文件夹或 zip，或已发布的 .pt 文件。</translation>
    </message>
    <message>
        <source>Close other programs, or segment only a region of the volume.</source>
        <translation>请关闭其他程序，或只分割体数据的一个区域。</translation>
    </message>
    <message>
        <source>Close other programs, or segment only a region: Options, Where.</source>
        <translation>请关闭其他程序，或只分割一个区域：“选项”中的“范围”。</translation>
    </message>
    <message>
        <source>Do not use this file; get the model from its authors.</source>
        <translation>请勿使用此文件；请从作者处获取该模型。</translation>
    </message>
    <message>
        <source>Free some space on the disk.</source>
        <translation>请释放一些磁盘空间。</translation>
    </message>
    <message>
        <source>Free some space, or set MISFM_HOME to a folder on another disk.</source>
        <translation>请释放一些空间，或将 MISFM_HOME 设为其他磁盘上的文件夹。</translation>
    </message>
    <message>
        <source>Free some space, or set MISFM_HOME to a folder where you may write.</source>
        <translation>请释放一些空间，或将 MISFM_HOME 设为有写入权限的文件夹。</translation>
    </message>
    <message>
        <source>Get the model again, or update MISFM.</source>
        <translation>请重新获取该模型，或更新 MISFM。</translation>
    </message>
    <message>
        <source>Get the model again.</source>
        <translation>请重新获取该模型。</translation>
    </message>
    <message>
        <source>Get the model again; do not use this copy.</source>
        <translation>请重新获取该模型；请勿使用此副本。</translation>
    </message>
    <message>
        <source>Install it: pip install 'misfm[{extra}]'</source>
        <translation>请安装：pip install 'misfm[{extra}]'</translation>
    </message>
    <message>
        <source>No space is left on the disk for {path}.</source>
        <translation>磁盘上没有空间写入 {path}。</translation>
    </message>
    <message>
        <source>No voxel of any label was found.</source>
        <translation>未找到任何标签的体素。</translation>
    </message>
    <message>
        <source>Remove what is there first, or choose another name.</source>
        <translation>请先删除已有内容，或选择其他名称。</translation>
    </message>
    <message>
        <source>Report it with Copy report.</source>
        <translation>请用“复制报告”反馈。</translation>
    </message>
    <message>
        <source>Restart Slicer; if that does not help, install the MISFM extension again.</source>
        <translation>请重新启动 Slicer；若无效，请重新安装 MISFM 扩展。</translation>
    </message>
    <message>
        <source>The computer has too little free memory for this volume.</source>
        <translation>本机可用内存不足以处理此体数据。</translation>
    </message>
    <message>
        <source>The lowest intensity is {value}, so this does not look like CT in Hounsfield units, which the model was trained on.</source>
        <translation>最低强度为 {value}，因此不像是以 HU 为单位的 CT，而模型是在这样的 CT 上训练的。</translation>
    </message>
    <message>
        <source>The lowest intensity is {value}, so this looks like CT; the model was trained on MR.</source>
        <translation>最低强度为 {value}，因此看起来像 CT；模型是在 MR 上训练的。</translation>
    </message>
    <message>
        <source>The memory of the device did not suffice; tried next: {change}.</source>
        <translation>设备内存不足；接着尝试：{change}。</translation>
    </message>
    <message>
        <source>The program that segments could not be started: {problem}.</source>
        <translation>无法启动分割程序：{problem}。</translation>
    </message>
    <message>
        <source>The program that segments crashed ({signal}).</source>
        <translation>分割程序崩溃（{signal}）。</translation>
    </message>
    <message>
        <source>The program that segments ended without a result (exit code {code}).</source>
        <translation>分割程序结束但没有结果（退出代码 {code}）。</translation>
    </message>
    <message>
        <source>The program that segments has told nothing for {minutes} minutes.</source>
        <translation>分割程序已有 {minutes} 分钟没有响应。</translation>
    </message>
    <message>
        <source>The program that segments was ended by the system, most often for lack of memory.</source>
        <translation>分割程序被系统终止，最常见的原因是内存不足。</translation>
    </message>
    <message>
        <source>The voxels are {given} mm, the model was trained on {expected} mm (depth x height x width): expect less detail or wrong labels.</source>
        <translation>体素为 {given} mm，模型训练时为 {expected} mm（深 x 高 x 宽）：细节可能较少，标签可能有误。</translation>
    </message>
    <message>
        <source>There is too little memory for this volume.</source>
        <translation>内存不足以处理此体数据。</translation>
    </message>
    <message>
        <source>This computer has no device {device}; it has {devices}.</source>
        <translation>本机没有设备 {device}；本机有 {devices}。</translation>
    </message>
    <message>
        <source>This model is meant for the region around {names}. Get {rough} too, which finds that: without it structures may be found where there are none.</source>
        <translation>此模型只针对 {names} 周围的区域。请同时获取用于定位该区域的 {rough}：否则可能在没有结构的地方误检出结构。</translation>
    </message>
    <message>
        <source>This step needs the package {package}, which is not installed.</source>
        <translation>此步骤需要未安装的包 {package}。</translation>
    </message>
    <message>
        <source>Try again later; if it stays so, report it, the file has been changed.</source>
        <translation>请稍后再试；若仍如此请反馈，该文件已被更改。</translation>
    </message>
    <message>
        <source>Try again. If it happens again, report it with Copy report.</source>
        <translation>请重试。若再次发生，请用“复制报告”反馈。</translation>
    </message>
    <message>
        <source>Unexpected {kind}: {message}</source>
        <translation>意外错误 {kind}：{message}</translation>
    </message>
    <message>
        <source>Update MISFM, its catalogue may be out of date, or add the model with Import.</source>
        <translation>请更新 MISFM（其目录可能已过期），或用“导入”添加该模型。</translation>
    </message>
    <message>
        <source>Update MISFM.</source>
        <translation>请更新 MISFM。</translation>
    </message>
    <message>
        <source>What {address} sends is not the file that was expected: its checksum is wrong.</source>
        <translation>{address} 发来的不是预期的文件：校验和不符。</translation>
    </message>
    <message>
        <source>on the CPU</source>
        <translation>使用 CPU</translation>
    </message>
    <message>
        <source>one window at a time</source>
        <translation>每次只计算一个窗口</translation>
    </message>
    <message>
        <source>step {step} of {count}, loss {loss}</source>
        <translation>第 {step} 步，共 {count} 步，损失 {loss}</translation>
    </message>
    <message>
        <source>step {step}, loss {loss}</source>
        <translation>第 {step} 步，损失 {loss}</translation>
    </message>
    <message>
        <source>with smaller windows ({size} voxels), so labels may differ a little</source>
        <translation>使用较小的窗口（{size} 体素），标签可能略有不同</translation>
    </message>
    <message>
        <source>with the sums of the windows in main memory</source>
        <translation>将各窗口的累加结果放在主内存中</translation>
    </message>
    <message>
        <source>{address} cannot be had: HTTP {status} {reason}.</source>
        <translation>无法获取 {address}：HTTP {status} {reason}。</translation>
    </message>
    <message>
        <source>{address} could not be downloaded: {reason}.</source>
        <translation>无法下载 {address}：{reason}。</translation>
    </message>
    <message>
        <source>{device} does not compute in {format}; it does in {formats}.</source>
        <translation>{device} 不支持以 {format} 计算；支持 {formats}。</translation>
    </message>
    <message>
        <source>{device} does not compute: {problem}.</source>
        <translation>{device} 无法计算：{problem}。</translation>
    </message>
    <message>
        <source>{model} is for training and does not segment.</source>
        <translation>{model} 用于训练，不能分割。</translation>
    </message>
    <message>
        <source>{names} were not found, around which this model looks.</source>
        <translation>未找到 {names}，而此模型只在其周围寻找。</translation>
    </message>
    <message>
        <source>{needed} MB are needed in {folder}, {free} MB are free.</source>
        <translation>{folder} 需要 {needed} MB，可用 {free} MB。</translation>
    </message>
    <message>
        <source>{path} cannot be read: {reason}.</source>
        <translation>无法读取 {path}：{reason}。</translation>
    </message>
    <message>
        <source>{path} cannot be used: {reason}.</source>
        <translation>无法使用 {path}：{reason}。</translation>
    </message>
    <message>
        <source>{path} cannot be written into {folder}: {reason}.</source>
        <translation>无法将 {path} 写入 {folder}：{reason}。</translation>
    </message>
    <message>
        <source>{path} cannot be written: {reason}.</source>
        <translation>无法写入 {path}：{reason}。</translation>
    </message>
    <message>
        <source>{path} does not exist.</source>
        <translation>{path} 不存在。</translation>
    </message>
    <message>
        <source>{path} exists already.</source>
        <translation>{path} 已存在。</translation>
    </message>
    <message>
        <source>{path} has format {format}, this version of MISFM reads up to {newest}.</source>
        <translation>{path} 的格式为 {format}，此版本的 MISFM 最多支持 {newest}。</translation>
    </message>
    <message>
        <source>{path} holds {file}, which can run code when it is loaded.</source>
        <translation>{path} 含有 {file}，加载时可能会执行代码。</translation>
    </message>
    <message>
        <source>{path} is damaged: {file} is no JSON ({reason}).</source>
        <translation>{path} 已损坏：{file} 不是 JSON（{reason}）。</translation>
    </message>
    <message>
        <source>{path} is damaged: {reason}.</source>
        <translation>{path} 已损坏：{reason}。</translation>
    </message>
    <message>
        <source>{path} is no model of MISFM: {reason}.</source>
        <translation>{path} 不是 MISFM 的模型：{reason}。</translation>
    </message>
    <message>
        <source>{path} is not safe to read: {reason}.</source>
        <translation>读取 {path} 不安全：{reason}。</translation>
    </message>
    <message>
        <source>{path} lacks {file}.</source>
        <translation>{path} 缺少 {file}。</translation>
    </message>
    <message>
        <source>{volume} has {count} channel(s), the model expects {expected}: {names}.</source>
        <translation>{volume} 有 {count} 个通道，模型需要 {expected} 个：{names}。</translation>
    </message>
    <message>
        <source>{volume} holds NaN or infinite intensities.</source>
        <translation>{volume} 含有 NaN 或无穷大的强度。</translation>
    </message>
    <message>
        <source>{volume} is a single slice ({size} voxels), a volume was expected.</source>
        <translation>{volume} 只有一个切片（{size} 体素），需要体数据。</translation>
    </message>
    <message>
        <source>{volume} is constant: every voxel is {value}.</source>
        <translation>{volume} 是常数：每个体素都是 {value}。</translation>
    </message>
</context>
<context>
    <name>MISFMSlicer.Messages</name>
    <message>
        <source>Apple GPU</source>
        <translation>Apple GPU</translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation>自动</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation>CPU</translation>
    </message>
    <message>
        <source>Converting the model for this computer, once</source>
        <translation>正在为本机转换模型（仅此一次）</translation>
    </message>
    <message>
        <source>Downloading</source>
        <translation>正在下载</translation>
    </message>
    <message>
        <source>NVIDIA GPU</source>
        <translation>NVIDIA GPU</translation>
    </message>
    <message>
        <source>Reading the volume</source>
        <translation>正在读取体数据</translation>
    </message>
    <message>
        <source>Segmenting</source>
        <translation>正在分割</translation>
    </message>
    <message>
        <source>Starting</source>
        <translation>正在启动</translation>
    </message>
    <message>
        <source>Writing the result</source>
        <translation>正在写入结果</translation>
    </message>
    <message>
        <source>about {time} left</source>
        <translation>还需约 {time}</translation>
    </message>
    <message>
        <source>{lengths} mm</source>
        <translation>{lengths} mm</translation>
    </message>
    <message>
        <source>{number} GB</source>
        <translation>{number} GB</translation>
    </message>
    <message>
        <source>{number} MB</source>
        <translation>{number} MB</translation>
    </message>
    <message>
        <source>{number} h</source>
        <translation>{number} 小时</translation>
    </message>
    <message>
        <source>{number} min</source>
        <translation>{number} 分钟</translation>
    </message>
    <message>
        <source>{number} s</source>
        <translation>{number} 秒</translation>
    </message>
</context>
<context>
    <name>MISFMSlicer.VolumeMessages</name>
    <message>
        <source>Choose another device in Options; if that does not help, get the model again.</source>
        <translation>请在“选项”中选择其他设备；若无效，请重新获取模型。</translation>
    </message>
    <message>
        <source>Choose another volume, or load this one again.</source>
        <translation>请选择其他体数据，或重新加载此体数据。</translation>
    </message>
    <message>
        <source>Choose one volume for each channel, or another model.</source>
        <translation>请为每个通道选择一个体数据，或选择其他模型。</translation>
    </message>
    <message>
        <source>Choose the wanted frame, or each channel, as a volume of its own.</source>
        <translation>请将所需帧或各通道作为单独的体数据选择。</translation>
    </message>
    <message>
        <source>Correct its spacing in the module Volumes, in millimetres.</source>
        <translation>请在 Volumes 模块中以毫米为单位更正其间距。</translation>
    </message>
    <message>
        <source>Correct its spacing in the module Volumes, or load the original files again.</source>
        <translation>请在 Volumes 模块中更正其间距，或重新加载原始文件。</translation>
    </message>
    <message>
        <source>Load the whole series, or choose another volume.</source>
        <translation>请加载整个序列，或选择其他体数据。</translation>
    </message>
    <message>
        <source>Replace them first, for example with the module Threshold Scalar Volume, or choose another volume.</source>
        <translation>请先替换这些值（例如用 Threshold Scalar Volume 模块），或选择其他体数据。</translation>
    </message>
    <message>
        <source>Resample it with Crop Volume, with interpolated cropping, and segment the result.</source>
        <translation>请用 Crop Volume 模块以插值裁剪的方式重采样，再分割结果。</translation>
    </message>
    <message>
        <source>Resample one onto the other first, for example with the module Resample Image (BRAINS).</source>
        <translation>请先将其一重采样到另一个的网格，例如用 Resample Image (BRAINS) 模块。</translation>
    </message>
    <message>
        <source>Save it as .nrrd, load it again, and segment that.</source>
        <translation>请将其保存为 .nrrd，重新加载后再分割。</translation>
    </message>
    <message>
        <source>Segment the other frames one by one, without All frames.</source>
        <translation>请不勾选“所有帧”，逐帧分割其余帧。</translation>
    </message>
    <message>
        <source>The channels {first} and {second} lie on different grids: {difference}.</source>
        <translation>通道 {first} 与 {second} 的网格不同：{difference}。</translation>
    </message>
    <message>
        <source>The model is damaged or was put together wrongly; get it again.</source>
        <translation>模型已损坏或组装有误；请重新获取。</translation>
    </message>
    <message>
        <source>The network has {count} classes, the model names {expected} with what is none of its labels.</source>
        <translation>网络有 {count} 个类别，模型连同背景列出 {expected} 个。</translation>
    </message>
    <message>
        <source>The network's answer holds values that are not finite.</source>
        <translation>网络的输出含有非有限值。</translation>
    </message>
    <message>
        <source>Try again; another program may have removed it.</source>
        <translation>请重试；可能被其他程序删除了。</translation>
    </message>
    <message>
        <source>Try again; is there space on the disk for temporary files?</source>
        <translation>请重试；磁盘上是否有空间存放临时文件？</translation>
    </message>
    <message>
        <source>{failed} of {count} frames failed ({reasons}{more}).</source>
        <translation>{count} 帧中有 {failed} 帧失败（{reasons}{more}）。</translation>
    </message>
    <message>
        <source>{volume} cannot be handed over: {reason}.</source>
        <translation>{volume} 无法传递：{reason}。</translation>
    </message>
    <message>
        <source>{volume} has more than three dimensions ({size}), one volume was expected.</source>
        <translation>{volume} 超过三维（{size}），应为一个体数据。</translation>
    </message>
    <message>
        <source>{volume} has the voxel size {size} mm, it must be above zero on each axis.</source>
        <translation>{volume} 的体素大小为 {size} mm，各轴都必须大于零。</translation>
    </message>
    <message>
        <source>{volume} holds no voxels: its size is {size}.</source>
        <translation>{volume} 没有体素：其大小为 {size}。</translation>
    </message>
    <message>
        <source>{volume} lies on no regular grid: its axes are {tilt} degrees off the right angle, as after a scan with tilted gantry.</source>
        <translation>{volume} 不在规则网格上：其坐标轴偏离直角 {tilt} 度，如倾斜机架扫描。</translation>
    </message>
    <message>
        <source>{volume} was not handed over completely: {reason}.</source>
        <translation>{volume} 未完整传递：{reason}。</translation>
    </message>
</context>
<context>
    <name>Panel.CaseCheck</name>
    <message>
        <source>Checking the cases: {what}</source>
        <translation>正在检查病例：{what}</translation>
    </message>
</context>
<context>
    <name>Panel.CasePlaces</name>
    <message>
        <source>{number}. {labels}</source>
        <translation>{number}. {labels}</translation>
    </message>
</context>
<context>
    <name>Panel.CaseTexts</name>
    <message>
        <source>A case needs a volume and a segmentation of it.</source>
        <translation>病例需要一个体数据及其分割。</translation>
    </message>
    <message>
        <source>A double-click opens it in Correct; Done keeps its labels.</source>
        <translation>双击可在“修正”中打开它；“完成”会保存其标签。</translation>
    </message>
    <message>
        <source>{case} was taken out of the scene. In the training set it is as it was: double-click it there to open it again.</source>
        <translation>{case} 已从场景中移除。训练集中的内容没有变化：请在列表中双击它以重新打开。</translation>
    </message>
    <message>
        <source>The volume of {case} was deleted. What was drawn is still in the scene, as {drawn}. In the training set the case is as it was: double-click it there to open it again, and copy what you need with the module Segmentations.</source>
        <translation>{case} 的影像已被删除。已勾画的内容仍在场景中，名为 {drawn}。训练集中的病例没有变化：请在列表中双击它以重新打开，并用 Segmentations 模块复制所需的分割。</translation>
    </message>
    <message>
        <source>A model learns from cases with labels. Open… a folder with images and labels; or load a volume and its segmentation, and press Add labels.</source>
        <translation>模型从带标签的病例中学习。请用“打开…”选择含图像和标注的文件夹；或加载一个体数据及其分割，再点击“添加标注”。</translation>
    </message>
    <message>
        <source>Add a segmentation first: its segments become the labels of the set.</source>
        <translation>请先添加一个分割：其分段将成为训练集的标签。</translation>
    </message>
    <message>
        <source>Add volumes without labels to be led from case to case.</source>
        <translation>添加没有标注的体数据，即可逐例进行。</translation>
    </message>
    <message>
        <source>All cases have labels.</source>
        <translation>所有病例都已标注。</translation>
    </message>
    <message>
        <source>Cases with labels: {labelled}, held out of them: {held}. To do: {waiting}.</source>
        <translation>已标注病例：{labelled}，其中留出：{held}。待处理：{waiting}。</translation>
    </message>
    <message>
        <source>Computing the proposal for {case}</source>
        <translation>正在计算 {case} 的建议</translation>
    </message>
    <message>
        <source>Dice of the proposal {dice}</source>
        <translation>建议的 Dice {dice}</translation>
    </message>
    <message>
        <source>The training set has no labels yet.</source>
        <translation>训练集还没有标签。</translation>
    </message>
    <message>
        <source>There is no model yet that proposes labels: cases open without.</source>
        <translation>还没有能给出建议的模型：病例将不带建议打开。</translation>
    </message>
    <message>
        <source>any</source>
        <translation>任意一例</translation>
    </message>
    <message>
        <source>checked</source>
        <translation>已检查</translation>
    </message>
    <message>
        <source>corrected</source>
        <translation>已修正</translation>
    </message>
    <message>
        <source>left out</source>
        <translation>已排除</translation>
    </message>
    <message>
        <source>no labels</source>
        <translation>无标注</translation>
    </message>
    <message>
        <source>not drawn: {names}</source>
        <translation>未勾画：{names}</translation>
    </message>
    <message>
        <source>proposed</source>
        <translation>已建议</translation>
    </message>
    <message>
        <source>Segment the volume, or load its segmentation. Of several that were loaded, hide all others.</source>
        <translation>请分割该体数据，或载入其分割。若载入了多个分割，请隐藏其他分割。</translation>
    </message>
    <message>
        <source>the next in the list</source>
        <translation>列表中的下一例</translation>
    </message>
    <message>
        <source>the one the model is least sure of</source>
        <translation>模型最没有把握的一例</translation>
    </message>
    <message>
        <source>{case} is a case of this training set already.</source>
        <translation>{case} 已是此训练集中的病例。</translation>
    </message>
    <message>
        <source>{case} is open, and somebody else has it open, too: who presses Done last is asked whose labels stay.</source>
        <translation>{case} 已打开，但另有他人也打开了此病例：最后按“完成”的人会被询问保留谁的标注。</translation>
    </message>
    <message>
        <source>{case} is open: correct the outlines, then press Done.</source>
        <translation>{case} 已打开：修正轮廓，然后按“完成”。</translation>
    </message>
    <message>
        <source>{status}, held out</source>
        <translation>{status}，留出</translation>
    </message>
    <message>
        <source>{who}, {when}</source>
        <translation>{who}，{when}</translation>
    </message>
</context>
<context>
    <name>Panel.ChannelsView</name>
    <message>
        <source>A volume was removed from the scene: press Cancel, then Add labels again.</source>
        <translation>有体数据已从场景中删除：请按“取消”，然后再次“添加标注”。</translation>
    </message>
    <message>
        <source>Choose a volume for each line.</source>
        <translation>请为每一行选择体数据。</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>请选择…</translation>
    </message>
    <message>
        <source>Every case of this training set has several volumes. Which are they?</source>
        <translation>此训练集的每个病例都有多个体数据。请指明是哪些。</translation>
    </message>
    <message>
        <source>In each case</source>
        <translation>每个病例中</translation>
    </message>
    <message>
        <source>Say what each volume is, each by another name.</source>
        <translation>请说明每个体数据是什么，名称不得重复。</translation>
    </message>
    <message>
        <source>The same volume is chosen twice.</source>
        <translation>同一体数据被选择了两次。</translation>
    </message>
    <message>
        <source>These volumes show the same place. Tick those that every case of this training set shall have, and say what each is, T1 or CT for example.</source>
        <translation>这些体数据显示同一部位。请勾选此训练集每个病例都应包含的体数据，并说明各是什么，例如 T1 或 CT。</translation>
    </message>
    <message>
        <source>Volume</source>
        <translation>体数据</translation>
    </message>
    <message>
        <source>Volume of this case</source>
        <translation>此病例的体数据</translation>
    </message>
    <message>
        <source>What it is</source>
        <translation>类型</translation>
    </message>
</context>
<context>
    <name>Panel.Closing</name>
    <message>
        <source>{volume} is in the training set already, as {case}. Its labels there can be replaced by these; a second case of it would count double.</source>
        <translation>{volume} 已在训练集中，病例名为 {case}。可用这些标注替换它在训练集中的标注；若再添加一个病例，同一图像会被重复计算。</translation>
    </message>
    <message>
        <source>Add labels</source>
        <translation>添加标注</translation>
    </message>
    <message>
        <source>Replace its labels</source>
        <translation>替换其标注</translation>
    </message>
    <message>
        <source>Leave it as it is</source>
        <translation>保持原样</translation>
    </message>
    <message>
        <source>The training set has no label {names}. If it gets one, it counts as not drawn in the cases that have labels already.</source>
        <translation>训练集中没有标签 {names}。若添加，则在已有标签的病例中视为未勾画。</translation>
    </message>
    <message>
        <source>New label</source>
        <translation>新标签</translation>
    </message>
    <message>
        <source>Add it to the set</source>
        <translation>添加到训练集</translation>
    </message>
    <message>
        <source>A training is running. It can go on without Slicer, and is found again when Slicer is opened; or it stops now and keeps what it has learnt, to go on later.</source>
        <translation>训练正在进行。它可以在没有 Slicer 的情况下继续，下次打开 Slicer 时会再次找到它；也可以现在停止并保留已学到的内容，以后再继续。</translation>
    </message>
    <message>
        <source>Close Slicer</source>
        <translation>关闭 Slicer</translation>
    </message>
    <message>
        <source>Go on in the background</source>
        <translation>在后台继续</translation>
    </message>
    <message>
        <source>Stop and keep</source>
        <translation>停止并保留</translation>
    </message>
    <message>
        <source>Leave {case}</source>
        <translation>离开 {case}</translation>
    </message>
    <message>
        <source>{case} has changes that are not in the set yet.</source>
        <translation>{case} 有尚未存入训练集的修改。</translation>
    </message>
    <message>
        <source>Discard the changes</source>
        <translation>放弃修改</translation>
    </message>
    <message>
        <source>Go on correcting</source>
        <translation>继续修正</translation>
    </message>
    <message>
        <source>Keep the labels of {case}</source>
        <translation>保留 {case} 的标签</translation>
    </message>
    <message>
        <source>{case} was open here when {who} saved labels of it, at {when}.</source>
        <translation>{case} 在此处打开期间，{who} 于 {when} 保存了它的标签。</translation>
    </message>
    <message>
        <source>Replace them by mine</source>
        <translation>用我的标签替换</translation>
    </message>
</context>
<context>
    <name>Panel.CollectView</name>
    <message>
        <source>Copying the cases of {folder}</source>
        <translation>正在复制 {folder} 的病例</translation>
    </message>
    <message>
        <source>Copying the cases: {what}</source>
        <translation>正在复制病例：{what}</translation>
    </message>
    <message>
        <source>Not added:</source>
        <translation>未添加：</translation>
    </message>
    <message>
        <source>The other cases are in the training set.</source>
        <translation>其他病例已在训练集中。</translation>
    </message>
</context>
<context>
    <name>Panel.DeviceView</name>
    <message>
        <source>Automatic takes a GPU if one works.</source>
        <translation>“自动”会在 GPU 可用时使用 GPU。</translation>
    </message>
    <message>
        <source>{device} ({memory})</source>
        <translation>{device}（{memory}）</translation>
    </message>
</context>
<context>
    <name>Panel.FinetuneTab</name>
    <message>
        <source>Discarded. All other models are as they were.</source>
        <translation>已放弃。其他模型均未改变。</translation>
    </message>
    <message>
        <source>Fine-tune</source>
        <translation>微调</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation>继续</translation>
    </message>
    <message>
        <source>Go on from the last checkpoint.</source>
        <translation>从最近的检查点继续。</translation>
    </message>
    <message>
        <source>Keep or discard the new model first.</source>
        <translation>请先保留或丢弃新模型。</translation>
    </message>
    <message>
        <source>Start; it runs on when Slicer is closed.</source>
        <translation>开始；关闭 Slicer 后仍会继续运行。</translation>
    </message>
    <message>
        <source>The proposals come from the new model now. {why}</source>
        <translation>现在由新模型给出建议。{why}</translation>
    </message>
    <message>
        <source>The proposals stay as they are. {why}</source>
        <translation>建议保持不变。{why}</translation>
    </message>
    <message>
        <source>{name} is in the list of the tab Segment now.</source>
        <translation>{name} 现已在“分割”页的列表中。</translation>
    </message>
</context>
<context>
    <name>Panel.Fixes</name>
    <message>
        <source>Hold {case} out</source>
        <translation>将 {case} 留作验证</translation>
    </message>
    <message>
        <source>It is right: there is nothing</source>
        <translation>没有错：确实没有结构</translation>
    </message>
    <message>
        <source>Learn from both</source>
        <translation>两者都用于训练</translation>
    </message>
    <message>
        <source>Learn from {case}</source>
        <translation>将 {case} 用于训练</translation>
    </message>
    <message>
        <source>Leave {case} out</source>
        <translation>不使用 {case}</translation>
    </message>
    <message>
        <source>Remove the stray voxels</source>
        <translation>删除零散体素</translation>
    </message>
    <message>
        <source>Remove these voxels</source>
        <translation>删除这些体素</translation>
    </message>
    <message>
        <source>Resample the labels to the image</source>
        <translation>将标签重采样到图像网格</translation>
    </message>
    <message>
        <source>Take {label} out of the set</source>
        <translation>从训练集中去掉 {label}</translation>
    </message>
    <message>
        <source>They are {label}</source>
        <translation>它们是{label}</translation>
    </message>
    <message>
        <source>{case} (held out) is the same as {other} (learnt from)</source>
        <translation>{case}（验证）与 {other}（训练）相同</translation>
    </message>
    <message>
        <source>{case} is the same image as {other}</source>
        <translation>{case} 与 {other} 是同一图像</translation>
    </message>
    <message>
        <source>{case}: no label at all, as in a healthy patient</source>
        <translation>{case}：没有任何标签，如同健康患者</translation>
    </message>
    <message>
        <source>{case}: the labels lie on another grid than the image</source>
        <translation>{case}：标签与图像不在同一网格上</translation>
    </message>
    <message>
        <source>{case}: values that this set has no name for: {labels}</source>
        <translation>{case}：此训练集中没有名称的数值：{labels}</translation>
    </message>
    <message>
        <source>{case}: {count} stray voxels of {labels}</source>
        <translation>{case}：{labels}有 {count} 个零散体素</translation>
    </message>
    <message>
        <source>{labels}: in no case that is learnt from</source>
        <translation>{labels}：没有任何训练病例包含它</translation>
    </message>
    <message>
        <source>{labels}: in no held-out case, so nobody will know how well</source>
        <translation>{labels}：没有验证病例包含它，无法得知效果</translation>
    </message>
</context>
<context>
    <name>Panel.FoldersView</name>
    <message>
        <source>Folder with volumes</source>
        <translation>包含体数据的文件夹</translation>
    </message>
    <message>
        <source>Refused: {reasons}.</source>
        <translation>已拒绝：{reasons}。</translation>
    </message>
    <message>
        <source>a CT without Hounsfield units</source>
        <translation>CT 不含亨氏单位</translation>
    </message>
    <message>
        <source>a label map</source>
        <translation>是标签图</translation>
    </message>
    <message>
        <source>a localizer</source>
        <translation>是定位像</translation>
    </message>
    <message>
        <source>a series over time</source>
        <translation>时间序列</translation>
    </message>
    <message>
        <source>a single slice</source>
        <translation>只有一个切片</translation>
    </message>
    <message>
        <source>cut off</source>
        <translation>文件不完整</translation>
    </message>
    <message>
        <source>damaged</source>
        <translation>文件损坏</translation>
    </message>
    <message>
        <source>held out</source>
        <translation>已留出</translation>
    </message>
    <message>
        <source>neither CT nor MR</source>
        <translation>既非 CT 也非 MR</translation>
    </message>
    <message>
        <source>no image</source>
        <translation>不是图像</translation>
    </message>
    <message>
        <source>nothing but air</source>
        <translation>只有空气</translation>
    </message>
    <message>
        <source>too few slices</source>
        <translation>切片太少</translation>
    </message>
    <message>
        <source>values that are no numbers</source>
        <translation>含有非数值</translation>
    </message>
    <message>
        <source>voxel size that cannot be right</source>
        <translation>体素尺寸不可信</translation>
    </message>
    <message>
        <source>voxels too large</source>
        <translation>体素过大</translation>
    </message>
    <message>
        <source>without voxels</source>
        <translation>没有体素</translation>
    </message>
    <message>
        <source>{count} volumes ready ({modalities}), {size} on the disk.</source>
        <translation>{count} 个体数据已就绪（{modalities}），占用磁盘 {size}。</translation>
    </message>
    <message>
        <source>{count} volumes ready, {size} on the disk.</source>
        <translation>{count} 个体数据已就绪，占用磁盘 {size}。</translation>
    </message>
    <message>
        <source>{count} were there twice.</source>
        <translation>{count} 个重复。</translation>
    </message>
</context>
<context>
    <name>Panel.InputsView</name>
    <message>
        <source>As the model was evaluated.</source>
        <translation>与模型评估时相同。</translation>
    </message>
    <message>
        <source>Averages {count} mirror images: a little better, {count} times slower.</source>
        <translation>对 {count} 个镜像取平均：略好，耗时为 {count} 倍。</translation>
    </message>
    <message>
        <source>The same as Normal: this model was trained without mirrored volumes.</source>
        <translation>与“标准”相同：此模型训练时未使用镜像体数据。</translation>
    </message>
    <message>
        <source>Volume:</source>
        <translation>体数据：</translation>
    </message>
    <message>
        <source>Windows overlap less: quicker, a little less exact.</source>
        <translation>窗口重叠较少：更快，精度略低。</translation>
    </message>
    <message>
        <source>{model} (mine)</source>
        <translation>{model}（我的）</translation>
    </message>
</context>
<context>
    <name>Panel.LoopView</name>
    <message>
        <source>No proposal for {case}: {why}</source>
        <translation>{case} 没有建议：{why}</translation>
    </message>
</context>
<context>
    <name>Panel.MappingView</name>
    <message>
        <source>The segmentation was removed from the scene.</source>
        <translation>该分割已从场景中移除。</translation>
    </message>
    <message>
        <source>Press Add labels for another one.</source>
        <translation>请对另一个分割按“添加标注”。</translation>
    </message>
    <message>
        <source>Choose a label for each.</source>
        <translation>请为每个分段选择标签。</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>请选择…</translation>
    </message>
    <message>
        <source>Label of the set</source>
        <translation>训练集的标签</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>分段</translation>
    </message>
    <message>
        <source>The training set does not know these names. Say what each segment is; nothing is written before.</source>
        <translation>训练集中没有这些名称。请说明每个分段是什么；在此之前不会写入任何内容。</translation>
    </message>
    <message>
        <source>These segments lie on another grid than the volume. They are resampled to it when you add them: each voxel gets the nearest label.</source>
        <translation>这些分段与体数据不在同一网格上。添加时会将其重采样到体数据网格：每个体素取最近的标签。</translation>
    </message>
    <message>
        <source>Two segments have the same label.</source>
        <translation>两个分段使用了同一标签。</translation>
    </message>
    <message>
        <source>a new label</source>
        <translation>新标签</translation>
    </message>
    <message>
        <source>leave out</source>
        <translation>排除</translation>
    </message>
</context>
<context>
    <name>Panel.ModelActions</name>
    <message>
        <source>Delete the model {model} from this computer?</source>
        <translation>从本机删除模型 {model}？</translation>
    </message>
    <message>
        <source>Download</source>
        <translation>下载</translation>
    </message>
    <message>
        <source>Export a model</source>
        <translation>导出模型</translation>
    </message>
    <message>
        <source>From a file…</source>
        <translation>从文件…</translation>
    </message>
    <message>
        <source>From a folder…</source>
        <translation>从文件夹…</translation>
    </message>
    <message>
        <source>Import a model</source>
        <translation>导入模型</translation>
    </message>
    <message>
        <source>Models (*.zip *.pt *.pth)</source>
        <translation>模型 (*.zip *.pt *.pth)</translation>
    </message>
    <message>
        <source>Models (*.zip)</source>
        <translation>模型 (*.zip)</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>停止</translation>
    </message>
    <message>
        <source>Stopped. The next download goes on from here.</source>
        <translation>已停止。下次下载将从此处继续。</translation>
    </message>
    <message>
        <source>The program that gets or converts the model was ended.</source>
        <translation>获取或转换模型的程序已被终止。</translation>
    </message>
    <message>
        <source>Try again: a download goes on from where it was.</source>
        <translation>请重试：下载会从中断处继续。</translation>
    </message>
    <message>
        <source>{model} is one of your models now. It is for training and cannot segment.</source>
        <translation>{model} 现在已是您的模型。它用于训练，不能分割。</translation>
    </message>
</context>
<context>
    <name>Panel.ModelsView</name>
    <message>
        <source>No model is found so: search for less, or import one.</source>
        <translation>没有找到符合条件的模型：请减少搜索词，或导入模型。</translation>
    </message>
</context>
<context>
    <name>Panel.NoticeView</name>
    <message>
        <source>Copied</source>
        <translation>已复制</translation>
    </message>
    <message>
        <source>Copy report</source>
        <translation>复制报告</translation>
    </message>
    <message>
        <source>Report it with Copy report.</source>
        <translation>请用“复制报告”反馈。</translation>
    </message>
    <message>
        <source>Unexpected {kind}: {message}</source>
        <translation>意外错误 {kind}：{message}</translation>
    </message>
</context>
<context>
    <name>Panel.Offers</name>
    <message>
        <source>Download {file} from {link}, then add it with Import.</source>
        <translation>请从 {link} 下载 {file}，再用“导入”添加。</translation>
    </message>
    <message>
        <source>Licence</source>
        <translation>许可证</translation>
    </message>
    <message>
        <source>Paper</source>
        <translation>论文</translation>
    </message>
    <message>
        <source>Size</source>
        <translation>大小</translation>
    </message>
    <message>
        <source>for training</source>
        <translation>用于训练</translation>
    </message>
    <message>
        <source>not on this computer</source>
        <translation>不在本机</translation>
    </message>
</context>
<context>
    <name>Panel.OptionsView</name>
    <message>
        <source>Inside a segment</source>
        <translation>分割段内</translation>
    </message>
    <message>
        <source>Inside an ROI</source>
        <translation>ROI 内</translation>
    </message>
    <message>
        <source>Whole volume</source>
        <translation>整个体数据</translation>
    </message>
</context>
<context>
    <name>Panel.OutcomeView</name>
    <message>
        <source>After</source>
        <translation>之后</translation>
    </message>
    <message>
        <source>Before</source>
        <translation>之前</translation>
    </message>
    <message>
        <source>Better than before: Dice {gain} on {count} held-out cases; chance alone would stay below {needed}.</source>
        <translation>比之前更好：{count} 个留出病例上 Dice {gain}；仅凭偶然会低于 {needed}。</translation>
    </message>
    <message>
        <source>Dice {gain} on one held-out case: too few to tell from chance.</source>
        <translation>一个留出病例上 Dice {gain}：太少，无法与偶然区分。</translation>
    </message>
    <message>
        <source>Dice {gain} on {count} held-out cases.</source>
        <translation>{count} 个留出病例上 Dice {gain}。</translation>
    </message>
    <message>
        <source>Held-out cases, the worst first:</source>
        <translation>留出病例，最差的在前：</translation>
    </message>
    <message>
        <source>Label</source>
        <translation>标签</translation>
    </message>
    <message>
        <source>Mean Dice {dice} on {count} held-out cases, which were never trained on. There is no earlier model to compare with.</source>
        <translation>{count} 个从未参与训练的留出病例上平均 Dice 为 {dice}。没有可比较的较早模型。</translation>
    </message>
    <message>
        <source>No case is held out yet, so nobody knows how good this model is: it takes three cases with labels.</source>
        <translation>还没有留出病例，因此无法得知此模型的好坏：需要三个已标注病例。</translation>
    </message>
    <message>
        <source>Not better than before by more than chance: Dice {gain} on {count} held-out cases, where {needed} would be needed.</source>
        <translation>与之前相比的提升未超过偶然：{count} 个留出病例上 Dice {gain}，需要 {needed}。</translation>
    </message>
    <message>
        <source>Spread</source>
        <translation>离散度</translation>
    </message>
    <message>
        <source>{case}: Dice {dice}</source>
        <translation>{case}：Dice {dice}</translation>
    </message>
    <message>
        <source>{name}, version {number}{dice}</source>
        <translation>{name}，版本 {number}{dice}</translation>
    </message>
</context>
<context>
    <name>Panel.Outlook</name>
    <message>
        <source>About {time} and {memory} of memory on the {device}.</source>
        <translation>约需 {time}，占用 {memory} 内存，使用 {device}。</translation>
    </message>
    <message>
        <source>About {time} on the {device}.</source>
        <translation>约需 {time}，使用 {device}。</translation>
    </message>
    <message>
        <source>Ready. How long it takes will be known in a moment.</source>
        <translation>就绪。所需时间稍后显示。</translation>
    </message>
    <message>
        <source>{segmentation} belongs to {volume}: its segments of the same name are replaced.</source>
        <translation>{segmentation} 属于 {volume}：其中同名的分段会被替换。</translation>
    </message>
</context>
<context>
    <name>Panel.PlacesView</name>
    <message>
        <source>No unsure place</source>
        <translation>没有不确定之处</translation>
    </message>
    <message>
        <source>Where to look</source>
        <translation>需要查看的位置</translation>
    </message>
    <message>
        <source>{position} mm: {labels}</source>
        <translation>{position} mm：{labels}</translation>
    </message>
</context>
<context>
    <name>Panel.PretrainTab</name>
    <message>
        <source>Add a folder with volumes first.</source>
        <translation>请先添加包含体数据的文件夹。</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation>继续</translation>
    </message>
    <message>
        <source>Keep or discard the new start first.</source>
        <translation>请先保留或放弃新的起点。</translation>
    </message>
    <message>
        <source>Pretrain</source>
        <translation>预训练</translation>
    </message>
    <message>
        <source>Pretrained in {steps} steps and {time}.</source>
        <translation>已在 {time} 内完成 {steps} 步预训练。</translation>
    </message>
    <message>
        <source>Ready. It runs on when Slicer is closed.</source>
        <translation>就绪。关闭 Slicer 后仍会继续运行。</translation>
    </message>
    <message>
        <source>The commands and a SLURM script are in the clipboard.</source>
        <translation>命令和 SLURM 脚本已复制到剪贴板。</translation>
    </message>
    <message>
        <source>full</source>
        <translation>完整</translation>
    </message>
    <message>
        <source>small</source>
        <translation>小型</translation>
    </message>
    <message>
        <source>{name} is in the list Start from of the tab Fine-tune.</source>
        <translation>{name} 已在“微调”页的“起点”列表中。</translation>
    </message>
</context>
<context>
    <name>Panel.ProblemsView</name>
    <message>
        <source>All of them are mended; Check looks once more.</source>
        <translation>已全部处理；可再次点击“检查”确认。</translation>
    </message>
    <message>
        <source>No problem was found in the cases with labels.</source>
        <translation>已标注的病例中未发现问题。</translation>
    </message>
    <message>
        <source>Press Done first.</source>
        <translation>请先点击“完成”。</translation>
    </message>
    <message>
        <source>These cases can be trained on. Look at what is listed: it is often a slip.</source>
        <translation>这些病例可以用于训练。请查看所列各项：往往是疏忽。</translation>
    </message>
    <message>
        <source>{case} has changes that are not in the set yet.</source>
        <translation>{case} 有尚未存入训练集的修改。</translation>
    </message>
</context>
<context>
    <name>Panel.Readiness</name>
    <message>
        <source>Each input needs a volume of its own.</source>
        <translation>每个输入需要各自的体数据。</translation>
    </message>
    <message>
        <source>Load a volume first: drag its file or DICOM folder into Slicer.</source>
        <translation>请先加载体数据：将文件或 DICOM 文件夹拖入 Slicer。</translation>
    </message>
    <message>
        <source>No model is installed: import one in Models.</source>
        <translation>未安装模型：请在“模型”中导入。</translation>
    </message>
    <message>
        <source>Select a model.</source>
        <translation>请选择模型。</translation>
    </message>
    <message>
        <source>Select a volume.</source>
        <translation>请选择体数据。</translation>
    </message>
    <message>
        <source>Select or create the ROI in Options.</source>
        <translation>请在“选项”中选择或新建 ROI。</translation>
    </message>
    <message>
        <source>Select the segment in Options.</source>
        <translation>请在“选项”中选择分割段。</translation>
    </message>
    <message>
        <source>Select the volume for {channel}.</source>
        <translation>请为 {channel} 选择体数据。</translation>
    </message>
    <message>
        <source>The model {name} is not on this computer: import it in Models.</source>
        <translation>本机没有模型 {name}：请在“模型”中导入。</translation>
    </message>
    <message>
        <source>This model is damaged: {problem}</source>
        <translation>此模型已损坏：{problem}</translation>
    </message>
    <message>
        <source>{volume} has no voxels.</source>
        <translation>{volume} 没有体素。</translation>
    </message>
</context>
<context>
    <name>Panel.ResultTable</name>
    <message>
        <source>Segment</source>
        <translation>分割段</translation>
    </message>
    <message>
        <source>Volume (ml)</source>
        <translation>体积 (ml)</translation>
    </message>
    <message>
        <source>not found</source>
        <translation>未找到</translation>
    </message>
    <message>
        <source>{count} voxels</source>
        <translation>{count} 个体素</translation>
    </message>
    <message>
        <source>{group}: {found} of {count}</source>
        <translation>{group}：{count} 个中找到 {found} 个</translation>
    </message>
</context>
<context>
    <name>Panel.ResultView</name>
    <message>
        <source>Check the outlines in the slices. Click a row to go there; correct with Edit.</source>
        <translation>请在切片中检查轮廓。点击一行可跳转到该处；用“编辑”修正。</translation>
    </message>
    <message>
        <source>DICOM segmentation…</source>
        <translation>DICOM 分割…</translation>
    </message>
    <message>
        <source>Does the volume show what the model segments? Its card is in Models.</source>
        <translation>体数据中有该模型要分割的内容吗？模型说明见“模型”。</translation>
    </message>
    <message>
        <source>Edited since.</source>
        <translation>之后被编辑过。</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>导出</translation>
    </message>
    <message>
        <source>Install it now?</source>
        <translation>现在安装吗？</translation>
    </message>
    <message>
        <source>It is in Slicer's DICOM database too.</source>
        <translation>它也已存入 Slicer 的 DICOM 数据库。</translation>
    </message>
    <message>
        <source>NIfTI label map (*.nii.gz)</source>
        <translation>NIfTI 标签图 (*.nii.gz)</translation>
    </message>
    <message>
        <source>NIfTI label map…</source>
        <translation>NIfTI 标签图…</translation>
    </message>
    <message>
        <source>Restore previous in Options brings back what was there before.</source>
        <translation>“选项”中的“恢复之前的结果”可恢复原有内容。</translation>
    </message>
    <message>
        <source>Smoothing lets the 3D view show less than there is: {shares} of the volume. Smoothing 0, beside Show 3D in Segment Editor, shows more; exported surfaces keep all.</source>
        <translation>平滑会使三维视图显示得比实际小：仅为体积的 {shares}。在 Segment Editor 的“Show 3D”旁将平滑设为 0 可显示更多；导出的表面保留全部体积。</translation>
    </message>
    <message>
        <source>Surfaces (STL)…</source>
        <translation>表面 (STL)…</translation>
    </message>
    <message>
        <source>Written to {folder}: {names}</source>
        <translation>已写入 {folder}：{names}</translation>
    </message>
    <message>
        <source>{volume}: nothing was found.</source>
        <translation>{volume}：未找到任何内容。</translation>
    </message>
    <message>
        <source>{volume}: segmented in {time}.</source>
        <translation>{volume}：已分割，用时 {time}。</translation>
    </message>
    <message>
        <source>{volume}: {count} frames segmented in {time}.</source>
        <translation>{volume}：{count} 帧已分割，用时 {time}。</translation>
    </message>
</context>
<context>
    <name>Panel.RunView</name>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>分割</translation>
    </message>
    <message>
        <source>Start (Ctrl+Enter)</source>
        <translation>开始 (Ctrl+Enter)</translation>
    </message>
    <message>
        <source>Stop; the scene stays as it is (Esc)</source>
        <translation>停止；场景保持不变 (Esc)</translation>
    </message>
    <message>
        <source>{count} more waiting</source>
        <translation>另有 {count} 个在等待</translation>
    </message>
</context>
<context>
    <name>Panel.SegmentTab</name>
    <message>
        <source>Cancelled. The scene is as it was.</source>
        <translation>已取消。场景未改变。</translation>
    </message>
    <message>
        <source>{job}: cancelled</source>
        <translation>{job}：已取消</translation>
    </message>
    <message>
        <source>{job}: failed</source>
        <translation>{job}：失败</translation>
    </message>
    <message>
        <source>{job}: segmented</source>
        <translation>{job}：已分割</translation>
    </message>
</context>
<context>
    <name>Panel.SetupView</name>
    <message>
        <source>Before the first run Segment will ask to install {missing}.</source>
        <translation>首次运行前，“分割”会询问是否安装 {missing}。</translation>
    </message>
    <message>
        <source>Checking…</source>
        <translation>正在检查…</translation>
    </message>
    <message>
        <source>Fix</source>
        <translation>修复</translation>
    </message>
    <message>
        <source>MISFM needs more software</source>
        <translation>MISFM 需要更多软件</translation>
    </message>
    <message>
        <source>MISFM {version}. Everything runs on this computer; nothing is sent. Not for clinical use.</source>
        <translation>MISFM {version}。所有计算都在本机进行，不发送任何数据。不得用于临床。</translation>
    </message>
    <message>
        <source>The memory is free; the next run loads the model again.</source>
        <translation>内存已释放；下次运行会重新加载模型。</translation>
    </message>
    <message>
        <source>The self-check failed. {message} {remedy}</source>
        <translation>自检失败。{message} {remedy}</translation>
    </message>
    <message>
        <source>Works: a sample was segmented in {time} on the {device}, mean Dice {dice}.</source>
        <translation>正常：样本已分割，用时 {time}，使用 {device}，平均 Dice {dice}。</translation>
    </message>
    <message>
        <source>in order</source>
        <translation>正常</translation>
    </message>
    <message>
        <source>missing</source>
        <translation>缺少</translation>
    </message>
    <message>
        <source>works, but could be better</source>
        <translation>可用，但可以更好</translation>
    </message>
</context>
<context>
    <name>Panel.StructureGroups</name>
    <message>
        <source>Bones</source>
        <translation>骨骼</translation>
    </message>
    <message>
        <source>Head and neck</source>
        <translation>头颈部</translation>
    </message>
    <message>
        <source>Heart</source>
        <translation>心脏</translation>
    </message>
    <message>
        <source>Lesions</source>
        <translation>病变</translation>
    </message>
    <message>
        <source>Lungs and airways</source>
        <translation>肺和气道</translation>
    </message>
    <message>
        <source>Muscles</source>
        <translation>肌肉</translation>
    </message>
    <message>
        <source>Organs</source>
        <translation>器官</translation>
    </message>
    <message>
        <source>Other</source>
        <translation>其他</translation>
    </message>
    <message>
        <source>Ribs and sternum</source>
        <translation>肋骨和胸骨</translation>
    </message>
    <message>
        <source>Spine</source>
        <translation>脊柱</translation>
    </message>
    <message>
        <source>Tissues</source>
        <translation>组织</translation>
    </message>
    <message>
        <source>Vessels</source>
        <translation>血管</translation>
    </message>
</context>
<context>
    <name>Panel.TrainView</name>
    <message>
        <source>Checking the cases</source>
        <translation>正在检查病例</translation>
    </message>
    <message>
        <source>Dice</source>
        <translation>Dice</translation>
    </message>
    <message>
        <source>Dice of the fusion levels</source>
        <translation>融合层级的 Dice</translation>
    </message>
    <message>
        <source>Dice on held-out cases</source>
        <translation>留出病例上的 Dice</translation>
    </message>
    <message>
        <source>Ending after this step; the best model is then evaluated</source>
        <translation>将在本步之后结束，然后评估最佳模型</translation>
    </message>
    <message>
        <source>Evaluating the model it started from on the same cases</source>
        <translation>正在同样的病例上评估起点模型</translation>
    </message>
    <message>
        <source>Evaluating the new model on the held-out cases</source>
        <translation>正在留出病例上评估新模型</translation>
    </message>
    <message>
        <source>Labels found: {found} of {count}, mean Dice {dice}</source>
        <translation>已找到的标签：{found}/{count}，平均 Dice {dice}</translation>
    </message>
    <message>
        <source>Loss</source>
        <translation>损失</translation>
    </message>
    <message>
        <source>Paused after step {step}</source>
        <translation>已在第 {step} 步之后暂停</translation>
    </message>
    <message>
        <source>Pausing after this step</source>
        <translation>将在本步之后暂停</translation>
    </message>
    <message>
        <source>Preparing the cases</source>
        <translation>正在准备病例</translation>
    </message>
    <message>
        <source>Starting</source>
        <translation>正在启动</translation>
    </message>
    <message>
        <source>Step</source>
        <translation>步</translation>
    </message>
    <message>
        <source>Stop and discard</source>
        <translation>停止并放弃</translation>
    </message>
    <message>
        <source>Stop and keep the best</source>
        <translation>停止并保留最佳</translation>
    </message>
    <message>
        <source>The training is done</source>
        <translation>训练已完成</translation>
    </message>
    <message>
        <source>The training was interrupted; it can go on from its last checkpoint</source>
        <translation>训练被中断；可从最近的检查点继续</translation>
    </message>
    <message>
        <source>Training loss</source>
        <translation>训练损失</translation>
    </message>
    <message>
        <source>Training: {what}</source>
        <translation>正在训练：{what}</translation>
    </message>
</context>
<context>
    <name>Panel.TrainingForm</name>
    <message>
        <source>About {steps} steps in {time} on this computer.</source>
        <translation>在本机上 {time} 内约 {steps} 步。</translation>
    </message>
    <message>
        <source>Checkpoints (*.pt *.pth)</source>
        <translation>检查点 (*.pt *.pth)</translation>
    </message>
    <message>
        <source>Choose or make a training set first.</source>
        <translation>请先选择或新建训练集。</translation>
    </message>
    <message>
        <source>Fresh weights have to be trained as a whole.</source>
        <translation>从零开始时必须训练整个网络。</translation>
    </message>
    <message>
        <source>It needs about {memory} of memory, and only {free} are free.</source>
        <translation>约需 {memory} 内存，而仅有 {free} 可用。</translation>
    </message>
    <message>
        <source>It needs about {memory} of memory.</source>
        <translation>约需 {memory} 内存。</translation>
    </message>
    <message>
        <source>No case has labels yet: add a segmentation, or correct a proposal.</source>
        <translation>还没有已标注的病例：请添加分割或修正建议。</translation>
    </message>
    <message>
        <source>Published checkpoint</source>
        <translation>已发布的检查点</translation>
    </message>
    <message>
        <source>Small labels are often found only after some hundred steps.</source>
        <translation>小标签往往要几百步之后才能找到。</translation>
    </message>
    <message>
        <source>a published checkpoint…</source>
        <translation>已发布的检查点…</translation>
    </message>
    <message>
        <source>all of it</source>
        <translation>全部</translation>
    </message>
    <message>
        <source>nothing (fresh weights)</source>
        <translation>无（从零开始）</translation>
    </message>
    <message>
        <source>Ready. The first training on this training set will tell how many steps fit into the time.</source>
        <translation>就绪。对此训练集首次训练后即可得知这段时间内能完成多少步。</translation>
    </message>
    <message>
        <source>small changes (LoRA)</source>
        <translation>小幅改动 (LoRA)</translation>
    </message>
    <message>
        <source>the class outputs only</source>
        <translation>仅类别输出</translation>
    </message>
    <message>
        <source>the decoder</source>
        <translation>解码器</translation>
    </message>
    <message>
        <source>{title} (mine)</source>
        <translation>{title}（我的）</translation>
    </message>
    <message>
        <source>{title} (pretrained)</source>
        <translation>{title}（预训练）</translation>
    </message>
</context>
<context>
    <name>Panel.TrainingSetView</name>
    <message>
        <source>Case</source>
        <translation>病例</translation>
    </message>
    <message>
        <source>DICOM study…</source>
        <translation>DICOM 检查…</translation>
    </message>
    <message>
        <source>Folder of a DICOM study</source>
        <translation>DICOM 检查文件夹</translation>
    </message>
    <message>
        <source>New training set</source>
        <translation>新训练集</translation>
    </message>
    <message>
        <source>None yet</source>
        <translation>暂无</translation>
    </message>
    <message>
        <source>Open a training set</source>
        <translation>打开训练集</translation>
    </message>
    <message>
        <source>Status</source>
        <translation>状态</translation>
    </message>
    <message>
        <source>Sure</source>
        <translation>把握</translation>
    </message>
    <message>
        <source>Volume files…</source>
        <translation>体数据文件…</translation>
    </message>
</context>
<context>
    <name>Panel.VolumeFilesView</name>
    <message>
        <source>A volume on another grid than the first of its case is resampled to it.</source>
        <translation>与所在病例第一个体数据网格不同的体数据将重采样到该网格。</translation>
    </message>
    <message>
        <source>Add volumes without labels</source>
        <translation>添加没有标注的体数据</translation>
    </message>
    <message>
        <source>Are these the volumes of each case?</source>
        <translation>每个病例的体数据是否如此？</translation>
    </message>
    <message>
        <source>Name the files of a case alike but for {channels}.</source>
        <translation>请让同一病例的文件名除 {channels} 外完全相同。</translation>
    </message>
    <message>
        <source>Not added:</source>
        <translation>未添加：</translation>
    </message>
    <message>
        <source>Not used: {files}</source>
        <translation>未使用：{files}</translation>
    </message>
    <message>
        <source>The other volumes are in the training set.</source>
        <translation>其他体数据已在训练集中。</translation>
    </message>
    <message>
        <source>Volumes (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd)</source>
        <translation>体数据 (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd)</translation>
    </message>
    <message>
        <source>and {count} more</source>
        <translation>另有 {count} 个</translation>
    </message>
    <message>
        <source>In the training set already: {names}</source>
        <translation>已在训练集中：{names}</translation>
    </message>
    <message>
        <source>{file}: the other volumes of its case were not found ({channels}).</source>
        <translation>{file}：未找到该病例的其他体数据（{channels}）。</translation>
    </message>
</context>
<context>
    <name>Panel.WatchView</name>
    <message>
        <source>No case is held out.</source>
        <translation>没有留出的病例。</translation>
    </message>
    <message>
        <source>Stop watching</source>
        <translation>停止观察</translation>
    </message>
    <message>
        <source>{case}: outlined is what the network sees, filled are the labels.</source>
        <translation>{case}：轮廓线是网络看到的内容，填充的是标签。</translation>
    </message>
    <message>
        <source>{case}: outlines come when the held-out cases are looked at next.</source>
        <translation>{case}：轮廓将在下次查看留出病例时出现。</translation>
    </message>
</context>
<context>
    <name>Panel.Widget</name>
    <message>
        <source>Fine-tune</source>
        <translation>微调</translation>
    </message>
    <message>
        <source>Pretrain</source>
        <translation>预训练</translation>
    </message>
</context>
<context>
    <name>Panel.WorthView</name>
    <message>
        <source>Case</source>
        <translation>病例</translation>
    </message>
    <message>
        <source>Corrections</source>
        <translation>修正</translation>
    </message>
    <message>
        <source>Dice and minutes</source>
        <translation>Dice 与分钟</translation>
    </message>
    <message>
        <source>Dice of the proposal</source>
        <translation>建议的 Dice</translation>
    </message>
    <message>
        <source>Minutes</source>
        <translation>分钟</translation>
    </message>
</context>
<context>
    <name>Pretrain</name>
    <message>
        <source>A network learns from volumes without labels what to look at; a fine-tuning that starts from it needs fewer labels.</source>
        <translation>网络从没有标注的体数据中学习该看什么；以此为起点的微调需要的标注更少。</translation>
    </message>
    <message>
        <source>Add folder…</source>
        <translation>添加文件夹…</translation>
    </message>
    <message>
        <source>Copy as command</source>
        <translation>复制为命令</translation>
    </message>
    <message>
        <source>Copy the commands and a SLURM script for a long run elsewhere.</source>
        <translation>复制命令和 SLURM 脚本，以便在别处长时间运行。</translation>
    </message>
    <message>
        <source>Delete this start; nothing else is lost.</source>
        <translation>删除此起点；其他内容不受影响。</translation>
    </message>
    <message>
        <source>Discard</source>
        <translation>放弃</translation>
    </message>
    <message>
        <source>End the training.</source>
        <translation>结束训练。</translation>
    </message>
    <message>
        <source>Folders with volumes at any depth: files or DICOM.</source>
        <translation>包含体数据的文件夹（任意层级）：文件或 DICOM。</translation>
    </message>
    <message>
        <source>Keep</source>
        <translation>保留</translation>
    </message>
    <message>
        <source>Learn from all volumes below a folder.</source>
        <translation>从文件夹下的所有体数据中学习。</translation>
    </message>
    <message>
        <source>Minutes:</source>
        <translation>分钟：</translation>
    </message>
    <message>
        <source>Name of the start in the list Start from of the tab Fine-tune.</source>
        <translation>该起点在“微调”页“起点”列表中的名称。</translation>
    </message>
    <message>
        <source>Name:</source>
        <translation>名称：</translation>
    </message>
    <message>
        <source>Network:</source>
        <translation>网络：</translation>
    </message>
    <message>
        <source>Pause</source>
        <translation>暂停</translation>
    </message>
    <message>
        <source>Plot how well the network does its task on held-out volumes.</source>
        <translation>绘制网络在留出体数据上完成任务的情况。</translation>
    </message>
    <message>
        <source>Plot what the training makes small.</source>
        <translation>绘制训练所最小化的损失。</translation>
    </message>
    <message>
        <source>Prepare</source>
        <translation>准备</translation>
    </message>
    <message>
        <source>Pretrain</source>
        <translation>预训练</translation>
    </message>
    <message>
        <source>Put it into the list Start from of the tab Fine-tune.</source>
        <translation>放入“微调”页的“起点”列表。</translation>
    </message>
    <message>
        <source>Read all volumes once, say what was refused and why, and keep them ready for the training.</source>
        <translation>读取所有体数据一次，说明拒绝了哪些及原因，并为训练做好准备。</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>移除</translation>
    </message>
    <message>
        <source>Show curves</source>
        <translation>显示曲线</translation>
    </message>
    <message>
        <source>Show loss</source>
        <translation>显示损失</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>停止</translation>
    </message>
    <message>
        <source>Stop after this step; goes on later with the same numbers.</source>
        <translation>在本步之后停止；以后可用相同数值继续。</translation>
    </message>
    <message>
        <source>Take the chosen folder out of the list.</source>
        <translation>将所选文件夹移出列表。</translation>
    </message>
    <message>
        <source>The small network trains in minutes to hours, the full one needs a GPU.</source>
        <translation>小型网络可在几分钟到几小时内训练，完整网络需要 GPU。</translation>
    </message>
    <message>
        <source>Two crops, the fused one, which parts are of the second one, and what the network says.</source>
        <translation>两个裁剪块、融合后的块、哪些部分来自第二块，以及网络的回答。</translation>
    </message>
</context>
<context>
    <name>Scene.Channels</name>
    <message>
        <source>{volume} lies on another grid than {first} and covers {share} % of it: it is resampled to that, and filled with its lowest value beyond.</source>
        <translation>{volume} 与 {first} 的网格不同，只覆盖其 {share} %：将重采样到该网格，其余部分用其最低值填充。</translation>
    </message>
    <message>
        <source>{volume} lies on another grid than {first}: it is resampled to that.</source>
        <translation>{volume} 与 {first} 的网格不同：将重采样到该网格。</translation>
    </message>
</context>
<context>
    <name>Scene.DicomSeg</name>
    <message>
        <source>DICOM SEG needs the package {name}, which is missing.</source>
        <translation>DICOM SEG 需要软件包 {name}，但它缺失。</translation>
    </message>
    <message>
        <source>Export to NIfTI, or segment the volume as the module DICOM loads it.</source>
        <translation>请导出为 NIfTI，或按 DICOM 模块加载的原样分割该体数据。</translation>
    </message>
    <message>
        <source>Import its series with the module DICOM.</source>
        <translation>请用 DICOM 模块导入其序列。</translation>
    </message>
    <message>
        <source>Install it: {command}</source>
        <translation>请安装：{command}</translation>
    </message>
    <message>
        <source>Install the extension QuantitativeReporting, or use Slicer 5.12 or newer.</source>
        <translation>请安装 QuantitativeReporting 扩展，或使用 Slicer 5.12 或更新版本。</translation>
    </message>
    <message>
        <source>Load the volume with the module DICOM, or export to NIfTI.</source>
        <translation>请用 DICOM 模块加载体数据，或导出为 NIfTI。</translation>
    </message>
    <message>
        <source>See whether the volume's series is complete in Slicer's DICOM database.</source>
        <translation>请检查该体数据的序列在 Slicer 的 DICOM 数据库中是否完整。</translation>
    </message>
    <message>
        <source>Segment first.</source>
        <translation>请先进行分割。</translation>
    </message>
    <message>
        <source>The DICOM SEG could not be written: {problem}.</source>
        <translation>无法写入 DICOM SEG：{problem}。</translation>
    </message>
    <message>
        <source>The DICOM files of {volume} are not in Slicer's database.</source>
        <translation>{volume} 的 DICOM 文件不在 Slicer 的数据库中。</translation>
    </message>
    <message>
        <source>There is no segment to export.</source>
        <translation>没有可导出的分割段。</translation>
    </message>
    <message>
        <source>This Slicer cannot write DICOM SEG.</source>
        <translation>此 Slicer 无法写入 DICOM SEG。</translation>
    </message>
    <message>
        <source>it is under another transform than its volume</source>
        <translation>它与其体数据处于不同的变换之下</translation>
    </message>
    <message>
        <source>its voxels no longer lie on the slices of its DICOM series</source>
        <translation>其体素不再位于其 DICOM 序列的切片上</translation>
    </message>
    <message>
        <source>no file came</source>
        <translation>没有生成文件</translation>
    </message>
    <message>
        <source>{name} was moved or resampled: {reason}.</source>
        <translation>{name} 被移动或重采样过：{reason}。</translation>
    </message>
    <message>
        <source>{volume} was not loaded from DICOM, to which a DICOM SEG has to refer.</source>
        <translation>{volume} 不是从 DICOM 加载的，而 DICOM SEG 必须引用 DICOM。</translation>
    </message>
</context>
<context>
    <name>Scene.Export</name>
    <message>
        <source>Save the segmentation as .seg.nrrd instead.</source>
        <translation>请改为将分割保存为 .seg.nrrd。</translation>
    </message>
    <message>
        <source>Segment first.</source>
        <translation>请先进行分割。</translation>
    </message>
    <message>
        <source>The axes of {volume} are not at right angles, as NIfTI needs them.</source>
        <translation>{volume} 的轴不成直角，而 NIfTI 要求直角。</translation>
    </message>
    <message>
        <source>There is no segment to export.</source>
        <translation>没有可导出的分割段。</translation>
    </message>
    <message>
        <source>the disk may be full</source>
        <translation>磁盘可能已满</translation>
    </message>
</context>
<context>
    <name>Scene.GridBox</name>
    <message>
        <source>Move the region, or segment the whole volume.</source>
        <translation>请移动该区域，或分割整个体数据。</translation>
    </message>
    <message>
        <source>The region holds no centre of a voxel.</source>
        <translation>该区域不包含任何体素中心。</translation>
    </message>
    <message>
        <source>The region is a single voxel.</source>
        <translation>该区域只有一个体素。</translation>
    </message>
    <message>
        <source>The region lies outside the volume.</source>
        <translation>该区域在体数据之外。</translation>
    </message>
    <message>
        <source>The region was removed.</source>
        <translation>该区域已被删除。</translation>
    </message>
    <message>
        <source>The segment to stay inside of has no voxel in the volume.</source>
        <translation>所限定的分割段在体数据中没有体素。</translation>
    </message>
</context>
<context>
    <name>Scene.LabelFiles</name>
    <message>
        <source>Open the case, remove them, and press Done.</source>
        <translation>请打开该病例，去除这些体素，然后按“完成”。</translation>
    </message>
    <message>
        <source>{case} has voxels of this label.</source>
        <translation>{case} 中有此标签的体素。</translation>
    </message>
</context>
<context>
    <name>Scene.Masks</name>
    <message>
        <source>Remove the overlap in the Segment Editor.</source>
        <translation>请在分割编辑器中去除重叠。</translation>
    </message>
    <message>
        <source>{first} and {second} overlap, a label map gives each voxel one label.</source>
        <translation>{first} 与 {second} 重叠，标签图中每个体素只能有一个标签。</translation>
    </message>
    <message>
        <source>{name} is made of contours, of which this Slicer cannot make voxels.</source>
        <translation>{name} 由轮廓线构成，此 Slicer 无法将其转换为体素。</translation>
    </message>
    <message>
        <source>Install the extension SlicerRT, which can.</source>
        <translation>请安装可以转换的扩展 SlicerRT。</translation>
    </message>
</context>
<context>
    <name>Scene.SceneCases</name>
    <message>
        <source>Give a scene with volumes and segmentations, or a data set.</source>
        <translation>请提供带有体数据和分割的场景，或一个数据集。</translation>
    </message>
    <message>
        <source>The scene holds no volume with a segmentation of it.</source>
        <translation>场景中没有带分割的体数据。</translation>
    </message>
</context>
<context>
    <name>Scene.SceneIO</name>
    <message>
        <source>{path} cannot be read.</source>
        <translation>无法读取 {path}。</translation>
    </message>
    <message>
        <source>It is damaged or not there; is its drive connected?</source>
        <translation>文件已损坏或不存在；其驱动器是否已连接？</translation>
    </message>
    <message>
        <source>Choose another volume.</source>
        <translation>请选择其他体数据。</translation>
    </message>
    <message>
        <source>Convert it with the module Vector to Scalar Volume.</source>
        <translation>请用 Vector to Scalar Volume 模块转换。</translation>
    </message>
    <message>
        <source>There is no volume, or it has no voxels.</source>
        <translation>没有体数据，或体数据没有体素。</translation>
    </message>
    <message>
        <source>{volume} has colours instead of one value per voxel.</source>
        <translation>{volume} 是彩色的，而不是每个体素一个值。</translation>
    </message>
</context>
<context>
    <name>Scene.Sequences</name>
    <message>
        <source>Segment the current frame only, or choose other volumes.</source>
        <translation>请只分割当前帧，或选择其他体数据。</translation>
    </message>
    <message>
        <source>The volumes do not all belong to sequences with the same number of frames.</source>
        <translation>这些体数据并非都属于帧数相同的序列。</translation>
    </message>
</context>
<context>
    <name>Scene.TrainingCases</name>
    <message>
        <source>Rename or delete the segment, or add the label to the set.</source>
        <translation>请重命名或删除该分段，或将此标签加入训练集。</translation>
    </message>
    <message>
        <source>The training set has no label {names}.</source>
        <translation>训练集中没有标签 {names}。</translation>
    </message>
    <message>
        <source>{case} has another number of voxels than in the training set.</source>
        <translation>{case} 的体素数与训练集中的不同。</translation>
    </message>
    <message>
        <source>Open it again from the list of the training set.</source>
        <translation>请从训练集的列表中重新打开它。</translation>
    </message>
</context>
<context>
    <name>Scene.Transforms</name>
    <message>
        <source>Harden the transforms and resample one volume to the other's grid.</source>
        <translation>请固化（Harden）这些变换，并把一个体数据重采样到另一个的网格上。</translation>
    </message>
    <message>
        <source>In the module Data, right-click its transform and choose Harden transform, or take the volume out of the transform.</source>
        <translation>请在“Data”模块中右键单击其变换并选择“Harden transform”，或将体数据移出该变换。</translation>
    </message>
    <message>
        <source>Resample it in the module Crop Volume, with interpolated cropping; segment the result.</source>
        <translation>请用“Crop Volume”模块以插值裁剪方式重采样，然后分割所得的体数据。</translation>
    </message>
    <message>
        <source>The axes of {volume} are {angle} degrees off right angles, as after a scan with tilted gantry.</source>
        <translation>{volume} 的轴偏离直角 {angle} 度，如机架倾斜扫描后的情形。</translation>
    </message>
    <message>
        <source>{first} and {other} are under different transforms.</source>
        <translation>{first} 与 {other} 处于不同的变换之下。</translation>
    </message>
    <message>
        <source>{volume} is under the non-linear transform {transform}: its slices are uneven, missing or tilted, or it was warped.</source>
        <translation>{volume} 处于非线性变换 {transform} 之下：其切片间距不均、有缺失或倾斜，或者体数据被形变过。</translation>
    </message>
</context>
<context>
    <name>Scene.VolumeFacts</name>
    <message>
        <source>The volume is {given}; the model was trained on crops of about {expected}. Choose a region in Options.</source>
        <translation>体数据为 {given}；该模型用约 {expected} 的局部数据训练。请在“选项”中选择范围。</translation>
    </message>
    <message>
        <source>The voxels are {given}; the model was trained on {expected}.</source>
        <translation>体素为 {given}；该模型训练时为 {expected}。</translation>
    </message>
    <message>
        <source>This does not look like CT in Hounsfield units: its lowest intensity is {value}.</source>
        <translation>这不像以亨氏单位表示的 CT：最低强度为 {value}。</translation>
    </message>
    <message>
        <source>This is a {given} volume; the model was trained on {expected}.</source>
        <translation>这是 {given} 体数据；该模型用 {expected} 训练。</translation>
    </message>
    <message>
        <source>This looks like CT; the model was trained on MR.</source>
        <translation>这看起来像 CT；该模型用 MR 训练。</translation>
    </message>
</context>
<context>
    <name>Scene.WatchedCase</name>
    <message>
        <source>{case}, network</source>
        <translation>{case}，网络</translation>
    </message>
</context>
<context>
    <name>Setup.Installer</name>
    <message>
        <source>Install the extension {name} in Slicer's Extensions Manager.</source>
        <translation>请在 Slicer 的扩展管理器中安装扩展 {name}。</translation>
    </message>
    <message>
        <source>Restart Slicer, then go on here.</source>
        <translation>请重新启动 Slicer，然后继续。</translation>
    </message>
    <message>
        <source>Run this in a terminal and start Slicer again: {command}</source>
        <translation>请在终端运行以下命令，然后重新启动 Slicer：{command}</translation>
    </message>
    <message>
        <source>The extension PyTorch has changed: its installTorch() takes other arguments.</source>
        <translation>PyTorch 扩展已变更：其 installTorch() 的参数不同。</translation>
    </message>
    <message>
        <source>The extension {name} could not be installed.</source>
        <translation>无法安装扩展 {name}。</translation>
    </message>
    <message>
        <source>The extension {name} is installed now.</source>
        <translation>扩展 {name} 已安装。</translation>
    </message>
    <message>
        <source>The installation did not work: {error}</source>
        <translation>安装未成功：{error}</translation>
    </message>
    <message>
        <source>This Slicer installs no extensions.</source>
        <translation>此 Slicer 无法安装扩展。</translation>
    </message>
</context>
<context>
    <name>Setup.Models</name>
    <message>
        <source>For</source>
        <translation>适用于</translation>
    </message>
    <message>
        <source>Held-out Dice</source>
        <translation>留出集 Dice</translation>
    </message>
    <message>
        <source>Licence</source>
        <translation>许可证</translation>
    </message>
    <message>
        <source>Limits</source>
        <translation>局限</translation>
    </message>
    <message>
        <source>Problem</source>
        <translation>问题</translation>
    </message>
    <message>
        <source>Segments</source>
        <translation>分割内容</translation>
    </message>
    <message>
        <source>Trained on</source>
        <translation>训练数据</translation>
    </message>
    <message>
        <source>Version</source>
        <translation>版本</translation>
    </message>
    <message>
        <source>damaged</source>
        <translation>已损坏</translation>
    </message>
    <message>
        <source>mine</source>
        <translation>我的</translation>
    </message>
    <message>
        <source>not evaluated</source>
        <translation>未评估</translation>
    </message>
    <message>
        <source>not stated: ask its authors</source>
        <translation>未说明：请询问作者</translation>
    </message>
    <message>
        <source>voxels of about {lengths}</source>
        <translation>体素约 {lengths}</translation>
    </message>
    <message>
        <source>{modality} volumes</source>
        <translation>{modality} 体数据</translation>
    </message>
    <message>
        <source>{scores} ({count} cases)</source>
        <translation>{scores}（{count} 例）</translation>
    </message>
</context>
<context>
    <name>Setup.Requirements</name>
    <message>
        <source>It will be downloaded from the Python Package Index and from pytorch.org (PyTorch: 0.2 GB, with support for NVIDIA GPUs up to 3 GB) into Slicer's own Python. Your images stay on this computer. Install now?</source>
        <translation>将从 Python Package Index 和 pytorch.org 下载（PyTorch：0.2 GB；支持 NVIDIA GPU 时最多 3 GB）并安装到 Slicer 自带的 Python 中。您的图像不会离开本机。现在安装吗？</translation>
    </message>
    <message>
        <source>MISFM library</source>
        <translation>MISFM 库</translation>
    </message>
    <message>
        <source>MISFM needs:</source>
        <translation>MISFM 需要：</translation>
    </message>
    <message>
        <source>MISFM_PYTHON names {path}, which is no program</source>
        <translation>MISFM_PYTHON 指向 {path}，它不是程序</translation>
    </message>
    <message>
        <source>Priority</source>
        <translation>优先级</translation>
    </message>
    <message>
        <source>Python</source>
        <translation>Python</translation>
    </message>
    <message>
        <source>Python packages</source>
        <translation>Python 包</translation>
    </message>
    <message>
        <source>Slicer gives way to all other programs, and what it starts does so too. Start Slicer with SLICER_BACKGROUND_THREAD_PRIORITY=0 in its environment to be faster beside other work.</source>
        <translation>Slicer 及其启动的程序会让位于其他所有程序。在环境变量中设置 SLICER_BACKGROUND_THREAD_PRIORITY=0 后启动 Slicer，可在有其他工作时更快。</translation>
    </message>
    <message>
        <source>Slicer's own packages</source>
        <translation>Slicer 自带的包</translation>
    </message>
    <message>
        <source>missing</source>
        <translation>缺少</translation>
    </message>
    <message>
        <source>missing or too old: {names}</source>
        <translation>缺少或版本过旧：{names}</translation>
    </message>
    <message>
        <source>normal</source>
        <translation>正常</translation>
    </message>
    <message>
        <source>not found; install the MISFM extension again</source>
        <translation>未找到；请重新安装 MISFM 扩展</translation>
    </message>
    <message>
        <source>the extension PyTorch is missing; Slicer has to be restarted after it</source>
        <translation>缺少 PyTorch 扩展；安装后需重新启动 Slicer</translation>
    </message>
    <message>
        <source>there is none for Slicer on this Mac, which runs as an Intel program; set MISFM_PYTHON to a Python that has MISFM installed</source>
        <translation>此 Mac 上的 Slicer 以 Intel 程序运行，没有可用的版本；请将 MISFM_PYTHON 设为已安装 MISFM 的 Python</translation>
    </message>
    <message>
        <source>this Slicer is too old, MISFM needs {names}; install a newer Slicer</source>
        <translation>此 Slicer 过旧，MISFM 需要 {names}；请安装更新的 Slicer</translation>
    </message>
    <message>
        <source>version {version} is too old</source>
        <translation>版本 {version} 过旧</translation>
    </message>
</context>
<context>
    <name>Setup.SelfCheck</name>
    <message>
        <source>Choose another device in Options, or update PyTorch.</source>
        <translation>请在“选项”中选择其他设备，或更新 PyTorch。</translation>
    </message>
    <message>
        <source>The sample was segmented wrongly (mean Dice {dice}).</source>
        <translation>样本分割有误（平均 Dice {dice}）。</translation>
    </message>
</context>
</TS>
